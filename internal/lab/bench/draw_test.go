package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The picture is one well-formed document with both lines, every load and the decades of latency.
func TestCurveIsDrawn(t *testing.T) {
	c := Curve{Fsync: "always", Partitions: 2, EndToEnd: 1e6, Points: []Point{
		{Load: 0.5, Rate: 498_000, P50: 0.7, P99: 12}, {Load: 1, Rate: 1_010_000, P50: 30, P99: 450},
	}}
	picture, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for decoder := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			words = append(words, string(text))
		}
	}
	got := "|" + strings.Join(words, "|") + "|"
	for _, want := range []string{"p50", "p99", "500.0k", "1.0M", "0.1", "1", "10", "100", "1000", "receipts a second that are submitted", "milliseconds"} {
		if !strings.Contains(got, "|"+want+"|") {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
