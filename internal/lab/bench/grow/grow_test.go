package grow

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

func TestMain(m *testing.M) {
	child.ServeIfAsked()
	os.Exit(m.Run())
}

// options are of a run that is as small as the figures allow. The race detector, which the short
// form is for, makes each receipt ten times as dear.
func options(t *testing.T) Options {
	t.Helper()
	self, err := child.ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Dir: t.TempDir(), First: 50_000, Receipts: 400_000, Runs: 2, Duration: 300 * time.Millisecond, Rate: 50_000,
		Traffic: sim.DefaultConfig(), Self: self,
	}
	if testing.Short() {
		o.First, o.Receipts, o.Rate = 10_000, 60_000, 10_000
	}
	return o
}

// All steps are taken, with a real server that is really killed, and every figure is plausible.
func TestEverythingIsMeasured(t *testing.T) {
	o := options(t)
	var phases []string
	o.Phase = func(name string) { phases = append(phases, name) }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v, after %q", err, phases)
	}
	t.Logf("%+v", r)
	for name, f := range map[string]Figures{"small": r.Small, "large": r.Large} {
		for what, x := range map[string]Figure{
			"rate": f.Rate, "CPU": f.CPU, "p50": f.P50, "p99": f.P99, "count p50": f.CountP50, "count p99": f.CountP99,
			"readers p50": f.ReadersP50, "readers p99": f.ReadersP99,
		} {
			if !(x.Least > 0 && x.Least <= x.Median && x.Median <= x.Most) || len(x.runs) != o.Runs {
				t.Errorf("%s, %s: %+v", name, what, x)
			}
		}
	}
	if r.Small.Replay <= 0 || r.Large.Replay <= 0 {
		t.Errorf("replayed %v and %v events a second", r.Small.Replay, r.Large.Replay)
	}
	if r.Small.From < o.First || r.Small.To <= r.Small.From || r.Large.From < max(o.Receipts, r.Small.To) || r.Large.To <= r.Large.From {
		t.Errorf("measured with %d to %d and %d to %d receipts", r.Small.From, r.Small.To, r.Large.From, r.Large.To)
	}
	if m := r.Memory; !(m.Peak >= m.Resident && m.Resident > m.Heap && m.Heap > m.Cache && m.Cache > 0 && m.Anonymous > 0 && m.File > 0) {
		t.Errorf("memory: %+v", m)
	}
	if s := r.Restart; !(s.Serving >= s.Open && s.Open > 0) || s.Folded == 0 || s.Unanswered == 0 || s.Receipts <= r.Large.To {
		t.Errorf("restart: %+v", s)
	}
	if r.CountsChecked == 0 || r.Receipts != r.Restart.Receipts || r.LogBytes <= 0 || r.StateBytes <= 0 || r.Ratios.Rate <= 0 {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Events that were not answered and are not sent again are missing, and fail the run.
func TestMissingEventsFailTheRun(t *testing.T) {
	o := options(t)
	r := &run{o: o, dir: o.Dir, server: child.NewReceiptd(o.Self, child.Protobuf)}
	defer func() {
		if err := r.server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := r.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.pour(o.First, new(Figure))(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.check(t.Context()); err != nil {
		t.Fatalf("nothing is missing: %v", err)
	}
	r.streams[0].Next(nil, 1000) // made, and never sent
	if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), "reads, not") {
		t.Errorf("a thousand events are missing: %v", err)
	}
}

func TestFiguresAreMedians(t *testing.T) {
	var f Figure
	for _, v := range []float64{5, 1, 4, 2} {
		f.add(v)
	}
	if f.Median != 3 || f.Least != 1 || f.Most != 5 {
		t.Errorf("%+v", f)
	}
	if f.add(9); f.Median != 4 {
		t.Errorf("%+v", f)
	}
}
