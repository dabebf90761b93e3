package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
)

const (
	// flooders pour each flood at the same time, and some rounds are made beside it.
	flooders = 4
	// floodMemory is what the heap may grow by beside a flood: the memory of the intake, 64 MiB for
	// each connection that NATS holds something for, here a dozen with those of the flooders, and
	// what the collector leaves beside that.
	floodMemory = 1 << 30
	// normalWithin is how soon everything is as it was, from the end of a flood on.
	normalWithin = 2 * time.Second
	// floodLooks is how often all doors are tried if one took too long: whoever starves does so
	// each time, and others may have taken the machine at one.
	floodLooks = 3
)

// slowest is what a door may take beside a flood that takes this while others only take the
// processors: a few of the flood's may be before it in each queue.
func slowest(busy time.Duration) time.Duration { return 10*busy + time.Second }

// improve takes over what took less.
func (d doorTimes) improve(took doorTimes) {
	for door, took := range took {
		if before, ok := d[door]; !ok || took < before {
			d[door] = took
		}
	}
}

// over names the doors that took longer than that.
func (d doorTimes) over(busy doorTimes) (slow []string) {
	for door, took := range d {
		if limit := slowest(busy[door]); took > limit {
			slow = append(slow, fmt.Sprintf("%s takes %s, and %s with busy processors: more than %s", door, took, busy[door], limit))
		}
	}
	return slow
}

// While one app floods a door, another app is served at every door, soon, in bounded memory, and
// everything is as it was when the flood is over.
func TestFloodsOfOneAppLeaveOthersServed(t *testing.T) {
	cfg := testConfig(t)
	cfg.Log.Fsync = config.FsyncAlways // what waits for the disk is to wait
	cfg.Log.NATSListen = "127.0.0.1:0"
	cfg.Log.NATSUsers = filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(cfg.Log.NATSUsers, []byte("acme#loud password-of-loud\nacme#quiet password-of-quiet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.TrustedProxies = "127.0.0.1/32"
	cfg.SDK.MaxConnections, cfg.SDK.PendingPerAddress = 50, 20
	r := start(t, cfg)
	eventually(t, "the server is ready", func() bool { status, _ := r.get("/readyz", ""); return status == 200 })
	for _, name := range []string{"loud", "quiet"} {
		r.admin("PUT", "/v1/apps/acme/"+name, `{"open_registration":true,"group_receipts":{"enabled":true}}`)
	}
	q := newQuiet(r)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	calm := q.rounds(rounds)
	t.Logf("alone: %s", calm)
	var busy doorTimes
	beside(func(ctx context.Context, _ int) {
		for ctx.Err() == nil {
		}
	}, func() { busy = q.rounds(rounds) })
	if t.Failed() {
		t.Fatal("not even alone")
	}
	t.Logf("with busy processors: %s", busy)
	for _, flood := range r.floods() {
		t.Run(flood.name, func(t *testing.T) {
			q.t = t
			best := doorTimes{}
			for look := 0; look == 0 || look < floodLooks && len(best.over(busy)) > 0; look++ {
				var took doorTimes
				grown := beside(flood.pour, func() { took = q.rounds(rounds) })
				t.Logf("beside it: %s; heap %+d MiB", took, grown>>20)
				if grown > floodMemory {
					t.Errorf("the heap grew by %d MiB", grown>>20)
				}
				best.improve(took)
			}
			for _, slow := range best.over(busy) {
				t.Error(slow)
			}
			q.recovers(calm)
		})
	}
}

// beside does something while others pour a flood, and returns by how much the heap grew at most.
func beside(pour func(ctx context.Context, k int), do func()) (grown int64) {
	ctx, end := context.WithCancel(context.Background())
	var flooding, watching sync.WaitGroup
	for k := range flooders {
		flooding.Go(func() { pour(ctx, k) })
	}
	watching.Go(func() { grown = heapUntil(ctx) })
	do()
	end()
	flooding.Wait()
	watching.Wait()
	return grown
}

// recovers waits until every door takes hardly longer than without a flood. A round counts for a
// second at most, and ten are made at least: others may take the machine meanwhile.
func (q *quietApp) recovers(calm doorTimes) {
	q.t.Helper()
	for passed, looks := time.Duration(0), 0; ; looks++ {
		began := time.Now()
		took, slow := q.rounds(1), ""
		for door, took := range took {
			if took > 10*calm[door]+200*time.Millisecond {
				slow = door
			}
		}
		if slow == "" {
			return
		}
		if passed += min(time.Since(began), time.Second); passed > normalWithin && looks > 10 {
			q.t.Errorf("%s still takes %s, and %s before", slow, took[slow], calm[slow])
			return
		}
	}
}

// heapUntil watches the heap until the context ends, and returns by how much it grew at most.
func heapUntil(ctx context.Context) (most int64) {
	heap := func() int64 {
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	goruntime.GC()
	before := heap()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		most = max(most, heap()-before)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return most
}

// doorTimes are how long the doors took, by their names.
type doorTimes map[string]time.Duration

func (d doorTimes) String() string {
	var b strings.Builder
	for _, door := range quietDoors {
		fmt.Fprintf(&b, "%s %s, ", door.name, d[door.name].Round(100*time.Microsecond))
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// median is the median of each door.
func median(all map[string][]time.Duration) doorTimes {
	d := doorTimes{}
	for door, took := range all {
		slices.Sort(took)
		d[door] = took[len(took)/2]
	}
	return d
}
