package dst

import (
	"math/rand/v2"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// split is the repartition of a log, from one partition to two. Clients go on in partition 0. What
// belongs to the one that forks from it comes from outside producers, and is compared with a model
// of its own.
type split struct {
	after int // how many lives there are before it; 0 = it is not repartitioned
	// random draws what befalls those who repartition it; tools are how many of them die on their
	// way, before one comes to the end.
	random *rand.Rand
	tools  int
	fork   uint64 // the last entry that the partitions have in common; 0 = not yet
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
	s := split{after: 1 + random.IntN(3), random: random, tools: random.IntN(2)}
	s.deaths, s.within = random.IntN(3), 20+random.IntN(80)
	s.tools *= 1 + random.IntN(3)
	return s
}

// partitions is how many the log has.
func (w *world) partitions() int { return w.partitionsAt(^uint64(0)) }

// partitionsAt is how many it had when an entry was stored.
func (w *world) partitionsAt(sequence uint64) int {
	if w.split.fork > 0 && sequence > w.split.fork {
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

// forked is what the model makes of the partition that forked, as far as that is folded; nil if
// there is none.
func (w *world) forked() *oracle.Model {
	if w.split.fork == 0 {
		return nil
	}
	at, ok := w.positionOf(1)
	if m := w.split.model; m == nil || !ok || m.Sequence() > at {
		w.split.model = oracle.New(1)
	}
	m := w.split.model
	entries := append(w.broker.entriesOf(0)[:w.split.fork:w.split.fork], w.broker.entriesOf(1)...)
	for m.Sequence() < min(at, uint64(len(entries))) {
		w.decide(m, entries[m.Sequence()])
	}
	return m
}

// forkRests reports whether all of the partition that forked is folded.
func (w *world) forkRests() bool {
	if w.split.fork == 0 {
		return true
	}
	at, ok := w.positionOf(1)
	return ok && at == w.split.fork+uint64(len(w.broker.entriesOf(1)))
}
