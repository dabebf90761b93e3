package gateway

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// fold is as much of a fold as streams depend on: counts, what is pending, and effects for who is online.
type fold struct {
	*fakeState
	partition int
	notify    *consumers.Notify

	lock     sync.Mutex
	sequence uint64
	counts   map[string]int
	pending  map[string]uint64 // last applied read
}

// read is called by several goroutines; effects are delivered under the lock, in the order of their sequences.
func (f *fold) read(message string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.sequence++
	f.counts[message]++
	f.pending[message] = f.sequence
	var effects []projections.Effect
	if f.notify.Online(testApp, "alice") {
		effects = append(effects, read(f.partition, f.sequence, message, "bob", f.counts[message], 1_000_000))
	}
	f.notify.Deliver(effects)
}

func (f *fold) statistics() (items []projections.StatisticItem, upto uint64) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for m := range f.pending {
		items = append(items, projections.StatisticItem{Message: m, Group: "g1", Count: f.counts[m], LastReader: "bob", FirstReadAt: 1, LastReadAt: 1})
	}
	return items, f.sequence
}

func (f *fold) seen(upto uint64) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.sequence++
	maps.DeleteFunc(f.pending, func(_ string, last uint64) bool { return last <= upto })
}

// folds are both partitions.
type folds struct {
	*fakeState
	parts [testPartitions]*fold
	asked atomic.Int64
}

// Statistics has a read come in just after the summary was made, where it is lost if nobody listens yet.
func (f *folds) Statistics(string, string) (items []projections.StatisticItem, upto []uint64, err error) {
	for _, part := range f.parts {
		some, at := part.statistics()
		items, upto = append(items, some...), append(upto, at)
	}
	for p, part := range f.parts {
		part.read(fmt.Sprintf("p%dlate%d", p, f.asked.Add(1)))
	}
	return items, upto, nil
}

func (f *folds) Configure(_ context.Context, _ string, s events.Settings) (events.Settings, error) {
	return s, nil
}

func (f *folds) Seen(_ context.Context, _, _ string, upto []uint64) error {
	for p, part := range f.parts {
		part.seen(upto[p])
	}
	return nil
}

// missing says where told differs from the counts.
func (f *folds) missing(told map[string]int) (messages []string) {
	for _, part := range f.parts {
		part.lock.Lock()
		for message, count := range part.counts {
			if told[message] != count {
				messages = append(messages, fmt.Sprintf("%s: told %d of %d", message, told[message], count))
			}
		}
		part.lock.Unlock()
	}
	return messages
}

// TestNothingIsLostHoweverOftenTheConnectionBreaks has receipts come in while the author's connection breaks at
// random. A client that remembers the last id must end with every count right, although what it has
// acknowledged is never sent again.
func TestNothingIsLostHoweverOftenTheConnectionBreaks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	all := &folds{fakeState: newFakeState()}
	h := newHarness(t, func(c *Config) { c.State, c.Commands = all, all })
	for p := range all.parts {
		all.parts[p] = &fold{partition: p, notify: h.notify, counts: map[string]int{}, pending: map[string]uint64{}}
	}

	var reading sync.WaitGroup
	for p, part := range all.parts {
		source := rand.New(rand.NewPCG(seed, uint64(p+1)))
		reading.Go(func() {
			for i := range 3000 {
				// A message is read a few times and then never again, so that nothing makes up for a loss.
				part.read(fmt.Sprintf("p%dm%d", p, (i+source.IntN(16))/4))
				if source.IntN(5) == 0 {
					time.Sleep(time.Duration(source.IntN(2000)) * time.Microsecond)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { reading.Wait(); close(done) }()

	told := make(map[string]int) // what the author knows
	take := func(c *streamClient, events int) error {
		for range events {
			e, err := c.next()
			if err != nil {
				return err
			}
			switch e.name {
			case "read":
				told[e.data["message"].(string)] = int(e.data["count"].(float64))
			case "statistic":
				for _, item := range e.data["group_ack"].([]any) {
					ack := item.(map[string]any)
					told[ack["mid"].(string)] = int(ack["count"].(float64))
				}
			}
		}
		return nil
	}
	lastID, connections := "", 0
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true
		default:
		}
		c := h.openStream("alice", lastID)
		connections++
		time.AfterFunc(time.Duration(r.IntN(30))*time.Millisecond, c.close)
		_ = take(c, r.IntN(100))
		c.close()
		lastID = c.lastID
	}
	// Everything has happened: one last connection that stays until nothing is missing.
	c := h.openStream("alice", lastID)
	time.AfterFunc(10*time.Second, c.close)
	for len(all.missing(told)) > 0 {
		if err := take(c, 1); err != nil {
			break
		}
	}
	if missing := all.missing(told); len(missing) > 0 {
		t.Errorf("lost: %v", missing)
	}
	t.Logf("%d connections", connections)
}
