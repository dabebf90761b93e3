package dst

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// split is the repartition of a log, from one partition to two. Clients go on in partition 0. What
// belongs to the one that forks from it comes from outside producers, and is compared with a model
// of its own.
type split struct {
	after int    // how many lives there are before it; 0 = it is not repartitioned
	half  bool   // the tool that does it dies on its way, and does it again
	mark  uint64 // the last entry that the partitions have in common; 0 = not yet
	// deaths are how many lives that follow die early, within so many steps: when they split.
	deaths, within int
	model          *oracle.Model
}

// newSplit draws whether a seed has one: from a source of its own, so that the others stay what
// they are.
func newSplit(seed uint64) split {
	random := rand.New(rand.NewPCG(seed, 0x5b117))
	if random.IntN(4) > 0 {
		return split{}
	}
	return split{after: 1 + random.IntN(3), half: random.IntN(2) == 0, deaths: random.IntN(3), within: 20 + random.IntN(80)}
}

// partitions is how many the log has.
func (w *world) partitions() int { return w.partitionsAt(^uint64(0)) }

// partitionsAt is how many it had when an entry was stored.
func (w *world) partitionsAt(sequence uint64) int {
	if w.split.mark > 0 && sequence > w.split.mark {
		return 2
	}
	return 1
}

// partitionOf is where an event goes. Those of receiptd itself go where clients go on.
func (w *world) partitionOf(e *events.Event) int {
	if e.Kind.Internal() {
		return 0
	}
	return events.Partition(e, w.partitions())
}

// leaveToOutsiders has them put in what comes next and is not of partition 0.
func (w *world) leaveToOutsiders() {
	for len(w.script) > 0 && w.partitionOf(&w.script[0]) > 0 {
		w.putIn(w.script[0])
		w.script = w.script[1:]
	}
}

// repartition does to the log of a server that is down what receiptctl repartition does.
func (w *world) repartition() {
	if w.split.after == 0 || w.split.mark > 0 || w.report.Lives < w.split.after || len(w.broker.entriesOf(0)) == 0 {
		return
	}
	w.mu.Lock()
	w.crashed, w.crashAt = false, 0
	w.mu.Unlock()
	w.broker.frozen.Store(false)
	if w.split.half {
		w.reconfigure(0, func(c *jetstream.StreamConfig) { c.Metadata["receiptd.repartition"] = "2" })
		w.refusesHalf()
	}
	for _, e := range []events.Event{
		{Kind: events.RulesLevel, App: events.LevelApp, Revision: 2},
		{Kind: events.LogRepartitioned, App: events.LevelApp, Revision: 2},
	} {
		w.broker.inject(events.BatchSubject(0), batchOf(e))
	}
	mark := uint64(len(w.broker.entriesOf(0)))
	w.broker.fork(mark)
	w.reconfigure(1, func(c *jetstream.StreamConfig) {
		c.Name, c.Description, c.Subjects, c.FirstSeq = "RECEIPTS_1", "receiptd: events of partition 1", []string{events.PartitionSubjects(1)}, mark+1
		c.Metadata["receiptd.partitions"], c.Metadata["receiptd.parent"], c.Metadata["receiptd.fork"] = "2", "0", strconv.FormatUint(mark, 10)
		delete(c.Metadata, "receiptd.repartition")
	})
	w.broker.inject(events.BatchSubject(1), batchOf(events.Event{Kind: events.LogRepartitioned, App: events.LevelApp, Revision: 2}))
	w.reconfigure(0, func(c *jetstream.StreamConfig) {
		c.Metadata["receiptd.partitions"] = "2"
		delete(c.Metadata, "receiptd.repartition")
	})
	w.split.mark = mark
	w.synced, w.attested = mark, mark // it stops its server in good order
	w.fired(kindSplit)
	w.tracef("repartitioned at entry %d", mark)
	w.broker.die()
	synctest.Wait()
}

// refusesHalf holds that nothing opens a log that is repartitioned in part.
func (w *world) refusesHalf() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := eventlog.Open(ctx, w.logConfig())
	if !errors.Is(err, eventlog.ErrRepartitioning) {
		if err == nil {
			_ = log.Close(ctx)
		}
		w.fail("a log that is repartitioned in part: %v", err)
	}
	w.fired(kindHalfway)
	w.broker.die()
	synctest.Wait()
	w.broker.frozen.Store(false)
}

func batchOf(e events.Event) []byte {
	b := new(events.Builder)
	b.Add(&e)
	return b.Encode(nil)
}

// reconfigure changes the configuration of a stream.
func (w *world) reconfigure(partition int, change func(*jetstream.StreamConfig)) {
	s := w.broker.streams["RECEIPTS_"+strconv.Itoa(partition)]
	var c jetstream.StreamConfig
	w.must(json.Unmarshal(s.config, &c))
	change(&c)
	var err error
	s.config, err = json.Marshal(c)
	w.must(err)
}

// fork makes the stream of partition 1, which begins after an entry of partition 0.
func (b *broker) fork(after uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.create("RECEIPTS_1", b.streams["RECEIPTS_0"].config)
	s.base = after
}

// forked is what the model makes of the partition that forked, as far as that is folded; nil if
// there is none.
func (w *world) forked() *oracle.Model {
	if w.split.mark == 0 {
		return nil
	}
	at, ok := w.positionOf(1)
	if m := w.split.model; m == nil || !ok || m.Sequence() > at {
		w.split.model = oracle.New(1)
	}
	m := w.split.model
	entries := append(w.broker.entriesOf(0)[:w.split.mark:w.split.mark], w.broker.entriesOf(1)...)
	for m.Sequence() < min(at, uint64(len(entries))) {
		w.decide(m, entries[m.Sequence()])
	}
	return m
}

// forkRests reports whether all of the partition that forked is folded.
func (w *world) forkRests() bool {
	if w.split.mark == 0 {
		return true
	}
	at, ok := w.positionOf(1)
	return ok && at == w.split.mark+uint64(len(w.broker.entriesOf(1)))
}
