package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// counter is a peer in memory that counts every read it is given, duplicate or not, unless it
// checks first.
type counter struct {
	looks bool

	mu      sync.Mutex
	readers map[string]map[string]bool
	counts  map[string]int
}

func (p *counter) Start(context.Context, string, *sim.Traffic) error {
	p.readers, p.counts = map[string]map[string]bool{}, map[string]int{}
	return nil
}

func (p *counter) Load(_ context.Context, evs []events.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range evs {
		if e.Kind != events.MessageRead || p.looks && p.readers[e.Message][e.User] {
			continue
		}
		if p.readers[e.Message] == nil {
			p.readers[e.Message] = map[string]bool{}
		}
		p.readers[e.Message][e.User] = true
		p.counts[e.Message]++
	}
	time.Sleep(time.Millisecond) // as a system does that takes time for it
	return nil
}

func (p *counter) Counts(_ context.Context, _ string, messages []string) (map[string]int, error) {
	if len(messages) > load.CountsAtOnce {
		panic("too many messages at once")
	}
	return p.counts, nil
}

func (p *counter) CPU() (float64, error)                  { return 1, nil }
func (p *counter) Bytes(context.Context) (float64, error) { return 1, nil }
func (p *counter) Stop() error                            { return nil }

func TestWrongCountsFailTheRun(t *testing.T) {
	for name, looks := range map[string]bool{"right": true, "wrong": false} {
		t.Run(name, func(t *testing.T) {
			system := System{Name: name, Connections: 4, Batch: 10, open: func(child.Self) Peer { return &counter{looks: looks} }}
			rows, err := Run(t.Context(), Options{
				Dir: t.TempDir(), Duration: 200 * time.Millisecond, Runs: 2, Traffic: sim.DefaultConfig(), Systems: []System{system},
			})
			switch {
			case looks && (err != nil || rows[0].Runs != 2 || rows[0].CountsChecked == 0):
				t.Errorf("%+v, %v", rows, err)
			case !looks && (err == nil || !strings.Contains(err.Error(), "readers, not")):
				t.Errorf("a peer that counts duplicates: %v", err)
			}
		})
	}
}

func TestHalfLoadIsHalf(t *testing.T) {
	system := System{Name: "t", Connections: 4, Batch: 10, open: func(child.Self) Peer { return &counter{looks: true} }}
	rows, err := Run(t.Context(), Options{
		Dir: t.TempDir(), Duration: 500 * time.Millisecond, Runs: 1, Traffic: sim.DefaultConfig(), Systems: []System{system},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Never more than half; less on a machine that is too busy to keep the schedule.
	if part := rows[0].HalfRate / rows[0].Rate; part < 0.05 || part > 0.6 {
		t.Errorf("%v of the full rate", part)
	}
}

func TestMedians(t *testing.T) {
	got := medians([]Row{{Rate: 3, P99: 9, Receipts: 10}, {Rate: 1, P99: 7, Receipts: 20}, {Rate: 2, P99: 8, Receipts: 30}})
	if got.Rate != 2 || got.P99 != 8 || got.Receipts != 60 || got.Runs != 3 {
		t.Errorf("of three: %+v", got)
	}
	if got := mediansAt([]Row{{At: []At{{100, 1, 2, 3}}}, {At: []At{{100, 3, 4, 5}, {200, 7, 8, 9}}}}); !slices.Equal(got, []At{{100, 2, 3, 4}, {200, 7, 8, 9}}) {
		t.Errorf("at the same load: %+v", got)
	}
	if got := medians([]Row{{CPU: 1}, {CPU: 4}}); got.CPU != 2.5 {
		t.Errorf("of two: %+v", got)
	}
}

func TestSystemsAreSelectedByName(t *testing.T) {
	all, err := Select(nil)
	if err != nil || len(all) != len(Systems()) {
		t.Errorf("%d systems, %v", len(all), err)
	}
	two, err := Select([]string{"redis", "http"})
	if err != nil || len(two) != 2 || two[0].Name != "http" || two[1].Name != "redis" {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := Select([]string{"mysql"}); err == nil || !strings.Contains(err.Error(), "there are embedded, sqlite,") {
		t.Errorf("no such system: %v", err)
	}
}

// The error says how to install a server that is missing.
func TestMissingProgramsAreNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, version := range []string{"9", "15"} {
		place := filepath.Join(dir, version, "bin")
		if err := os.MkdirAll(place, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, "server"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	places := filepath.Join(dir, "*", "bin")
	if path, err := find("server", "package", places); err != nil || path != filepath.Join(dir, "15", "bin", "server") {
		t.Errorf("the latest: %s, %v", path, err)
	}
	if _, err := find("other", "package", places); err == nil || !strings.Contains(err.Error(), "on Debian: apt-get install package") {
		t.Errorf("missing: %v", err)
	}
}

func TestClosedDirectoriesAreNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed", "open")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := mayEnter(dir, nobody); err == nil || !strings.Contains(err.Error(), "may not enter "+filepath.Dir(dir)) {
		t.Errorf("%v", err)
	}
	if err := mayEnter("/", nobody); err != nil {
		t.Errorf("/: %v", err)
	}
}
