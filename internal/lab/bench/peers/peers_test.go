package peers_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/peers"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// asServer has the test's program run one of the servers instead of the tests.
const asServer = "serve"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == asServer {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := child.Serve(ctx, os.Args[2], os.Args[3], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func options(t *testing.T, names ...string) peers.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	systems, err := peers.Select(names)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // for servers that run as another user
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return peers.Options{
		Dir: dir, Duration: time.Second, Runs: 1, Traffic: sim.DefaultConfig(), Systems: systems, Self: []string{self, asServer},
	}
}

// Every system gets the same traffic, and ends with the counts that it leads to: Run fails otherwise.
func TestEverySystemCountsRight(t *testing.T) {
	for _, s := range peers.Systems() {
		t.Run(s.Name, func(t *testing.T) {
			o := options(t, s.Name)
			rows, err := peers.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r := rows[0]
			t.Logf("%+v", r)
			if r.System != s.Name || r.Receipts == 0 || r.CountsChecked == 0 || r.Runs != 1 {
				t.Errorf("nothing was loaded: %+v", r)
			}
			for name, figure := range map[string]float64{
				"rate": r.Rate, "p50": r.P50, "p99": r.P99, "half rate": r.HalfRate, "half p99": r.HalfP99, "CPU": r.CPU, "bytes": r.Bytes,
			} {
				if !(figure > 0) {
					t.Errorf("%s is %v", name, figure)
				}
			}
			left, err := os.ReadDir(o.Dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
