package projector

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/receiptd/receiptd/events"
)

// ErrOutcomeGone is returned for the outcomes of an entry that was folded too long ago to be
// remembered. The events are durable and decided; only the answer is gone.
var ErrOutcomeGone = errors.New("projector: the outcomes of that entry are no longer remembered")

// outcomes remembers what was decided about the latest entries of a partition, for those who
// appended them and wait.
type outcomes struct {
	mu        sync.Mutex
	applied   uint64             // last entry decided
	first     uint64             // first entry remembered
	decisions [][]events.Outcome // of the entries from first to applied
	bytes     int
	recycled  [][]events.Outcome // memory of old decisions
	waiting   map[uint64]chan struct{}
	ended     chan struct{} // closed when nothing more will be decided
}

// maxOutcomeBytes bounds the memory of remembered outcomes: seconds of full load.
const (
	maxOutcomeBytes   = 2 << 20
	maxOutcomeEntries = 16 << 10
)

func newOutcomes(applied uint64) *outcomes {
	return &outcomes{applied: applied, first: applied + 1, waiting: map[uint64]chan struct{}{}, ended: make(chan struct{})}
}

// end ends all waits, present and future, for entries that are not folded yet.
func (o *outcomes) end() { close(o.ended) }

// decided remembers the outcomes of the next entry and wakes whoever waits for it. Those of an
// entry that is folded again are known.
func (o *outcomes) decided(seq uint64, list []events.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seq <= o.applied {
		return
	}
	if len(o.decisions) == 0 {
		o.first = seq
	}
	var buf []events.Outcome
	if n := len(o.recycled); n > 0 {
		buf, o.recycled = o.recycled[n-1], o.recycled[:n-1]
	}
	o.decisions = append(o.decisions, append(buf[:0], list...))
	o.bytes += len(list)
	for (o.bytes > maxOutcomeBytes || len(o.decisions) > maxOutcomeEntries) && len(o.decisions) > 1 {
		o.bytes -= len(o.decisions[0])
		if len(o.recycled) < 16 {
			o.recycled = append(o.recycled, o.decisions[0])
		}
		o.decisions[0] = nil
		o.decisions = o.decisions[1:]
		o.first++
	}
	o.applied = seq
	if ch := o.waiting[seq]; ch != nil {
		close(ch)
		delete(o.waiting, seq)
	}
}

// wait returns the outcomes of an entry once it is folded. It fails when the context or the fold
// ends first.
func (o *outcomes) wait(ctx context.Context, seq uint64) ([]events.Outcome, error) {
	for {
		o.mu.Lock()
		if seq <= o.applied {
			defer o.mu.Unlock()
			if seq < o.first {
				return nil, ErrOutcomeGone
			}
			return slices.Clone(o.decisions[seq-o.first]), nil
		}
		ch := o.waiting[seq]
		if ch == nil {
			ch = make(chan struct{})
			o.waiting[seq] = ch
		}
		o.mu.Unlock()
		select {
		case <-ch:
		case <-o.ended:
			select {
			case <-ch:
			default:
				return nil, ErrStopped
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// jump notes that the fold stands at an entry, and that nothing is remembered of those before.
func (o *outcomes) jump(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seq <= o.applied {
		return
	}
	o.applied, o.first, o.decisions, o.bytes = seq, seq+1, nil, 0
	for waited, ch := range o.waiting {
		if waited <= seq {
			close(ch)
			delete(o.waiting, waited)
		}
	}
}

func (o *outcomes) last() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.applied
}
