package nodes

import (
	"cmp"
	"fmt"
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

// All layouts are measured with real nodes, and every figure is plausible. The short form has one
// process: three that share two processors with a race detector never come to rest.
func TestEverythingIsMeasured(t *testing.T) {
	self, err := child.ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: t.TempDir(), Runs: 1, Duration: 400 * time.Millisecond, Receipts: 20_000, Connections: 16, Traffic: sim.DefaultConfig(), Self: self, Profiles: t.TempDir()}
	layouts := targets
	if testing.Short() {
		layouts = targets[:1]
	}
	o.Layouts = layouts
	rows, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(layouts) {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		t.Logf("%s: %+v", r.Layout, r)
		if r.Layout != layouts[i] || !(r.Rate > 0 && r.CPU > 0 && r.IdleP50 > 0 && r.IdleP99 >= r.IdleP50 && r.AskP50 > 0 && r.AskP99 >= r.AskP50) || r.CountsChecked == 0 {
			t.Errorf("%s: %+v", r.Layout, r)
		}
		if isBack := r.Back > 0 && r.BackReceipts >= o.Receipts; isBack != (r.Layout == Layout{Nodes: 3}) {
			t.Errorf("%s: back after %g s, with %d receipts", r.Layout, r.Back, r.BackReceipts)
		}
	}
	for _, l := range layouts {
		for i := range l.Nodes {
			name := fmt.Sprintf("%d-nodes-%d-copies-node-%d.pprof", l.Nodes, cmp.Or(l.Copies, l.Nodes), i)
			if info, err := os.Stat(filepath.Join(o.Profiles, name)); err != nil || info.Size() == 0 {
				t.Errorf("no profile %s: %v", name, err)
			}
		}
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMediansAreOfEachFigure(t *testing.T) {
	r := medians([]Row{{Rate: 3, CPU: 1}, {Rate: 1, CPU: 5}, {Rate: 2, CPU: 3}})
	if r.Rate != 2 || r.CPU != 3 {
		t.Errorf("%+v", r)
	}
	if r := medians([]Row{{Rate: 3}, {Rate: 1}}); r.Rate != 2 {
		t.Errorf("%+v", r)
	}
}
