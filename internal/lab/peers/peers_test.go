package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

func TestMain(m *testing.M) {
	child.ServeIfAsked()
	os.Exit(m.Run())
}

func options(t *testing.T, names ...string) Options {
	t.Helper()
	self, err := child.ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	systems, err := Select(names)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // for servers that run as another user
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return Options{
		Dir: dir, Duration: time.Second, Runs: 1, Rates: []float64{100, 1e12}, Traffic: sim.DefaultConfig(), Systems: systems, Self: self,
	}
}

// Every system gets the same traffic, and ends with the counts that it leads to: Run fails
// otherwise.
func TestEverySystemCountsRight(t *testing.T) {
	for _, s := range Systems() {
		t.Run(s.Name, func(t *testing.T) {
			o := options(t, s.Name)
			rows, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r := rows[0]
			t.Logf("%+v", r)
			if r.System != s.Name || r.Receipts == 0 || r.CountsChecked == 0 || r.Runs != 1 {
				t.Errorf("nothing was loaded: %+v", r)
			}
			for name, figure := range map[string]float64{
				"rate": r.Rate, "p50": r.P50, "p99": r.P99, "half rate": r.HalfRate, "half p99": r.HalfP99, "p99.9": r.P999, "half p99.9": r.HalfP999, "CPU": r.CPU, "bytes": r.Bytes,
			} {
				if !(figure > 0) {
					t.Errorf("%s is %v", name, figure)
				}
			}
			if len(r.At) != 1 || r.At[0].Load != 100 || !(r.At[0].P999 >= r.At[0].P99 && r.At[0].P99 > 0) {
				t.Errorf("at 100 receipts/s and at 10^12: %+v", r.At)
			}
			left, err := os.ReadDir(o.Dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
