package projector

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// State far larger than the cache: 200,000 messages through a cache of 1 MiB, with receipts that
// come back to old messages. Every count is right, and the memory is that of the cache, the filter,
// what waits for its checkpoint and Pebble, not that of the messages. What waits is not the cache's
// to drop, and on a machine with much else to do a checkpoint comes late: the test makes
// some itself.
func TestStateLargerThanTheCache(t *testing.T) {
	const groups, each = 100, 1000
	messages := 200_000
	if testing.Short() {
		messages = 10_000 // still five times what the cache holds
	}
	const heapMax, cacheBytes = 64 << 20, 1 << 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	log := openLog(t, 2)
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	log.Configure(app, settings, 1)
	group := func(i int) string { return fmt.Sprint("g", i%groups) }
	for i := range groups {
		log.Put(1, events.Event{
			Kind: events.GroupCreated, App: app, Group: group(i), User: "alice",
			Members: []string{reader(0), reader(1), reader(2), reader(3)},
		})
	}
	before := heap()
	r := start(t, log, Options{CacheBytes: cacheBytes, CheckpointEvery: 20 * time.Millisecond, FlushEvery: time.Second})

	counts := make([]uint8, messages) // a bit for each reader
	var list []events.Event
	read := func(i int) {
		who := random.IntN(4)
		counts[i] |= 1 << who
		list = append(list, events.Event{Kind: events.MessageRead, App: app, Group: group(i), User: reader(who), Message: message(i)})
	}
	peak := before
	for i := range messages {
		list = append(list, events.Event{Kind: events.MessageSent, App: app, Group: group(i), User: "alice", Message: message(i), Receipt: true})
		read(i)
		if i%4 == 0 {
			read(random.IntN(i + 1)) // long ago, mostly
		}
		if i%each == each-1 {
			log.Put(each, list...)
			list = list[:0]
		}
		if i%(messages/8) == messages/8-1 {
			r.caughtUp()
			peak = max(peak, heap())
			r.checkpointed()
		}
	}
	r.caughtUp()
	t.Logf("heap: %d MiB more at most", (peak-before)>>20)
	if peak > before+heapMax {
		t.Errorf("the heap grew by %d MiB, want at most %d", (peak-before)>>20, heapMax>>20)
	}
	// A cold answer reads from the disk: one message in twenty is asked for.
	var ids []string
	want := map[string]int{}
	for range messages / 100 {
		i := random.IntN(messages)
		ids, want[message(i)] = append(ids, message(i)), bits.OnesCount8(counts[i])
	}
	for id, c := range must[map[string]projections.Counts](t)(r.Counts(app, ids)) {
		if c.Read != want[id] || c.Eligible != 4 {
			t.Errorf("message %s: %+v, want %d readers", id, c, want[id])
		}
	}
	// Nothing waits for a checkpoint, and the last query has dropped what was too much.
	for k, s := range r.Stats() {
		if s.CacheBytes > cacheBytes/2 {
			t.Errorf("partition %d: the cache holds %d bytes", k, s.CacheBytes)
		}
	}
	// And all the rest: the state is that of a fold that had everything in memory.
	digests := r.digests(t)
	r.stop()
	if want := straight(t, log); !slices.Equal(digests, want) {
		t.Errorf("digests %v, want %v", digests, want)
	}
}

// While a rebuild is under way the live state has half of its cache, and afterwards whichever is
// live has all of it.
func TestARebuildSharesTheCache(t *testing.T) {
	const messages, cacheBytes = 3_000, 320 << 10
	log := openLog(t, 1)
	log.Configure(app, events.DefaultSettings(), 1)
	var ids []string
	for i := range messages {
		ids = append(ids, message(i))
		log.Put(1, events.Event{Kind: events.MessageSent, App: app, Peer: reader(i % 100), User: "alice", Message: ids[i]})
	}
	r := start(t, log, Options{CacheBytes: cacheBytes})
	r.caughtUp()
	r.checkpointed()
	cached := func(ask []string) int {
		must[map[string]projections.Counts](t)(r.Counts(app, ask)) // it drops what is too much
		return r.Stats()[0].CacheBytes
	}
	half := r.replicaCacheBytes()
	before, least := cached(ids), cacheBytes
	result := must[RebuildResult](t)(r.Rebuild(testContext(t), RebuildOptions{Switch: true, Progress: func(p Progress) {
		if p.Phase == phaseReplay {
			least = min(least, cached(ids[:1]))
		}
	}}))
	r.checkpointed()
	if after := cached(ids); !result.Equal || before <= half || after <= half || least > half || least < half/2 {
		t.Errorf("cached: %d before, %d beside the rebuild, %d afterwards; half of the cache is %d", before, least, after, half)
	}
}

// checkpointed brings everything folded so far into the stores.
func (r *running) checkpointed() {
	r.t.Helper()
	for k, w := range r.workers {
		if err := w.checkpoint(false); err != nil {
			r.t.Fatalf("checkpoint partition %d: %v", k, err)
		}
	}
}

// heap is what can be reached; pools are empty after a second collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
