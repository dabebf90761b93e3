package overload

import (
	"strings"
	"testing"
)

// A line for each kind of request that was measured with every number of connections.
func TestGoodputIsDrawn(t *testing.T) {
	r := Result{Rows: []Row{
		{Cell: Cell{Connections: 256, Batch: 1000, Tenants: 1}, Goodput: 1.2e6},
		{Cell: Cell{Connections: 32, Batch: 1000, Tenants: 1}, Goodput: 570e3},
		{Cell: Cell{Connections: 32, Batch: 1, Tenants: 8}, Goodput: 9e3},
	}}
	picture, err := r.SVG()
	if err != nil {
		t.Fatal(err)
	}
	got := string(picture)
	for _, want := range []string{">32<", ">256<", ">1000 a request, tenants: 1<", ">1.0M<", ">connections<"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if strings.Contains(got, "tenants: 8") {
		t.Error("a line that has no point for 256 connections")
	}
	r.Rows = r.Rows[1:2]
	r.Rows[0].Goodput = 0
	if _, err := r.SVG(); err == nil {
		t.Error("nothing to draw, and no error")
	}
}
