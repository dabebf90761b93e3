package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// replicas are three processes that form a cluster. What each has of the log is in several files.
type replicas struct {
	t       *testing.T
	ctx     context.Context
	configs []eventlog.Config
	logs    []*eventlog.Log
	entries int
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{t: t, ctx: testContext(t), configs: peers(t), logs: make([]*eventlog.Log, 3)}
	for i := range r.configs {
		r.configs[i].MaxBytes = 120 << 10 // blocks of 32 KiB
		r.configs[i] = eventlog.WithHooks(r.configs[i], eventlog.Hooks{Stale: time.Second})
	}
	r.open(0, 1, 2)
	return r
}

func (r *replicas) open(list ...int) {
	r.t.Helper()
	var group sync.WaitGroup
	for _, i := range list {
		group.Go(func() { r.logs[i] = natstest.OpenLog(r.t, r.configs[i]) })
	}
	group.Wait()
}

// append stores entries through one of the nodes.
func (r *replicas) append(i, n int) {
	r.t.Helper()
	for range n {
		if _, err := r.logs[i].Append(r.ctx, receipts(400, r.entries)); err != nil {
			r.t.Fatal(err)
		}
		r.entries++
	}
}

// same waits until the servers say that all have everything.
func (r *replicas) same(i int) {
	r.t.Helper()
	eventually(r.t, "all servers have everything", func() bool { return r.logs[i].InSync(r.ctx, r.t) == 3 })
}

// stream is where a node has its replica.
func (r *replicas) stream(i int) string {
	return filepath.Join(r.configs[i].Peers.Dir, "jetstream", "RECEIPTS", "streams", "RECEIPTS_0")
}

// blocks are the files of a node's replica, in their order.
func (r *replicas) blocks(i int) []string {
	r.t.Helper()
	list, err := filepath.Glob(filepath.Join(r.stream(i), "msgs", "*.blk"))
	if err != nil || len(list) < 3 {
		r.t.Fatalf("blocks: %v, %v", list, err)
	}
	number := func(path string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
		return n
	}
	slices.SortFunc(list, func(a, b string) int { return number(a) - number(b) })
	return list
}

// A bit that flips in an old file of a node's replica, leader or follower, is found there while the
// node runs, and nowhere else: with the file, the place and the entries.
func TestScrubOfReplicasFindsAFlippedBit(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	r.append(0, 60)
	r.same(0)
	for i, l := range r.logs {
		x := scrubbed(t, l)
		files := slices.IndexFunc(x.Streams, func(s eventlog.StreamFiles) bool { return s.Partition == 0 })
		if len(x.Findings) > 0 || files < 0 || x.Streams[files].Entries != 60 || l.DiskBytes() == 0 {
			t.Fatalf("in good order: %+v", x)
		}
		flipped := r.blocks(i)[1]
		flipLive(t, flipped, 0.3+0.2*float64(i)) // another entry at each: the log still has all
		for j, l := range r.logs {
			found := scrubbed(t, l).Findings
			if j > i {
				if len(found) > 0 {
					t.Errorf("node %d: %v", j, found)
				}
				continue
			}
			if len(found) != 1 || found[0].Code != eventlog.CodeBlockDamaged || found[0].File != r.blocks(j)[1] || found[0].Stream != "RECEIPTS_0" ||
				found[0].Offset == 0 || found[0].First < 2 || found[0].Last != found[0].First || found[0].First > 59 {
				t.Errorf("node %d: found %+v, flipped was %s", j, found, flipped)
			}
		}
	}
	for i, l := range r.logs {
		if n := len(entriesOf(t, r.ctx, l, 0)); n != 60 {
			t.Errorf("node %d reads %d entries of 60", i, n)
		}
	}
	r.append(1, 1)
}

// What the server cut off when it was started again, since it was damaged, is found to be missing,
// in the middle and at the beginning.
func TestScrubOfReplicasFindsWhatAStartCutOff(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]int{"the first block": 0, "one in the middle": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReplicas(t)
			r.append(0, 60)
			r.same(0)
			natstest.CloseLog(t, r.logs[2])
			flipLive(t, r.blocks(2)[block], 0.001)
			// As after a kill: the server does not know what was in its files.
			if err := os.Remove(filepath.Join(r.stream(2), "msgs", "index.db")); err != nil {
				t.Fatal(err)
			}
			r.open(2)
			r.same(0)
			found := scrubbed(t, r.logs[2]).Findings
			if len(found) == 0 || found[0].Stream != "RECEIPTS_0" || found[0].First == 0 || found[0].Last < found[0].First {
				t.Errorf("found %+v", found)
			}
			t.Logf("found %+v", found)
			for _, l := range r.logs[:2] {
				if found := scrubbed(t, l).Findings; len(found) > 0 {
					t.Errorf("in whole replicas: %v", found)
				}
			}
		})
	}
}

// While entries are appended and others leave, and a server goes and comes back and gets what it
// missed, nothing is found that is not there.
func TestScrubOfReplicasUnderWritesAndTrims(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	ctx, stop := context.WithCancel(r.ctx)
	var busy sync.WaitGroup
	defer busy.Wait()
	defer stop()
	busy.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := r.logs[0].Append(ctx, receipts(400, i)); err != nil && ctx.Err() == nil && !errors.Is(err, eventlog.ErrLogFull) {
				t.Error(err)
			}
		}
	})
	busy.Go(func() {
		for ctx.Err() == nil {
			if _, last, err := r.logs[0].Bounds(ctx, 0); err == nil && last > 40 {
				if err := r.logs[0].Trim(ctx, 0, last-40); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
			time.Sleep(20 * time.Millisecond) // between two trims
		}
	})
	entries := 0
	look := func(list ...int) {
		for _, i := range list {
			x := scrubbed(t, r.logs[i])
			for _, f := range x.Findings {
				t.Errorf("nothing is damaged, and node %d says: %v", i, f)
			}
			for _, s := range x.Streams {
				entries += int(s.Entries)
			}
		}
	}
	for round := 0; (round < 3 || entries < 200) && r.ctx.Err() == nil; round++ {
		look(0, 1, 2)
		natstest.CloseLog(t, r.logs[2])
		look(0, 1)
		r.open(2)
		look(2, 2, 2)
	}
	if entries < 200 {
		t.Errorf("only %d entries were read", entries)
	}
}

// A damaged replica that is put aside is made anew from the others', whatever is gone from the
// log's beginning, and however often; what it was lies where the repair says. It is as good then:
// with it another node may be away. Nothing else is done to a node's replicas.
func TestReplicaIsMadeAnew(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	r.append(0, 60)
	for _, damaged := range []int{2, 0} { // one of them leads, perhaps
		r.same(1)
		first, _, err := r.logs[1].Bounds(r.ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		natstest.CloseLog(t, r.logs[damaged])
		dir := r.configs[damaged].Peers.Dir
		flipLive(t, r.blocks(damaged)[1], 0.5)
		if _, err := eventlog.Repair(r.ctx, dir, filepath.Join(t.TempDir(), "witness"), eventlog.RepairOptions{AcceptLoss: true}); !errors.Is(err, eventlog.ErrReplica) {
			t.Errorf("repaired like the only copy: %v", err)
		}
		for _, name := range []string{"", "..", "RECEIPTS_7", "../streams/RECEIPTS_0"} {
			if _, err := eventlog.SetReplicaAside(dir, name); !errors.Is(err, eventlog.ErrNoReplica) {
				t.Errorf("%q is put aside: %v", name, err)
			}
		}
		done, err := eventlog.SetReplicaAside(dir, "RECEIPTS_0")
		if err != nil || done.Partition != 0 {
			t.Fatal(done, err)
		}
		if list, err := filepath.Glob(filepath.Join(done.Aside, "msgs", "*.blk")); err != nil || len(list) < 2 {
			t.Errorf("aside are %v, %v", list, err)
		}
		r.append(1, 3) // which it lacks besides
		r.open(damaged)
		eventually(t, "the replica is complete", func() bool {
			x := scrubbed(t, r.logs[damaged])
			at := slices.IndexFunc(x.Streams, func(s eventlog.StreamFiles) bool { return s.Partition == 0 })
			return len(x.Findings) == 0 && at >= 0 && x.Streams[at].First == first && x.Streams[at].Last == uint64(r.entries)
		})
		r.same(1)
		if err := r.logs[1].Trim(r.ctx, 0, first+20); err != nil {
			t.Fatal(err)
		}
	}
	natstest.CloseLog(t, r.logs[1])
	r.append(2, 1)
	first, last, err := r.logs[0].Bounds(r.ctx, 0)
	if err != nil || first < 2 || last != uint64(r.entries) {
		t.Errorf("the log has entries %d to %d, %v; %d were appended", first, last, err, r.entries)
	}
	for k := first; k <= last; k++ {
		if e, err := r.logs[0].EntryAt(r.ctx, 0, k); err != nil || e.Sequence != k {
			t.Errorf("entry %d: %+v, %v", k, e, err)
		}
	}
	if _, err := eventlog.SetReplicaAside(t.TempDir(), "RECEIPTS_0"); !errors.Is(err, eventlog.ErrNoReplica) {
		t.Errorf("in a directory that is no node's: %v", err)
	}
	if _, err := eventlog.SetReplicaAside(r.configs[0].Peers.Dir, "RECEIPTS_0"); !errors.Is(err, eventlog.ErrInUse) {
		t.Errorf("while the node runs: %v", err)
	}
}
