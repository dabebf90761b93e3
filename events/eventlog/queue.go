package eventlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/fair"
)

const (
	// maxQueuedBytes bounds, per partition, the events that are queued or under way, by their text
	// in memory. It holds several of the largest entries, so that the next one is always ready.
	maxQueuedBytes = 8 << 20
	// maxWaiting bounds the producers that wait for room in one partition.
	maxWaiting = 1024
	// maxBatchBytes bounds an entry without its headers. An event goes into the next batch when the
	// size of this one and the weight of the event might exceed it together; the margin covers the
	// column of times, which a batch gets with the first event that has one.
	maxBatchBytes = maxEntryBytes - 4<<10 - 2*events.MaxBatchEvents
)

// batch is an entry that is being filled.
type batch struct {
	builder events.Builder
	result  *result
	submits int   // that have events in it
	queued  int64 // bytes of the queue's capacity that its events take
}

// acquire takes bytes of the queue's capacity for events of an app. Those who have to wait are
// served fairly by app.
func (p *publisher) acquire(ctx context.Context, app string, n int64) (taken int64, err error) {
	if taken, ok := p.capacity.TryAcquire(n); ok {
		return taken, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.log.stopping, cancel)()
	taken, err = p.capacity.Acquire(ctx, fair.Key{App: app}, n)
	switch {
	case err == nil:
		return taken, nil
	case errors.Is(err, fair.ErrCrowded):
		return 0, fmt.Errorf("%w: partition %d: too many producers wait", ErrOverloaded, p.partition)
	case p.log.stopping.Err() != nil:
		return 0, p.log.refusal()
	}
	return 0, fmt.Errorf("%w: partition %d: no room in the queue: %w", ErrOverloaded, p.partition, err)
}

func (p *publisher) release(taken int64) { p.capacity.Release(taken) }

// add puts the partition's share of a submit into the queue, which has room for it.
func (p *publisher) add(evs []events.Event, s share, t *Ticket) {
	n := len(s.picked)
	if s.picked == nil {
		n = len(evs)
	}
	most := p.fold.mostEvents()
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.open()
	b.submits++
	run := part{result: b.result, partition: p.partition, first: b.builder.Len()}
	acquired := s.acquired
	for k := range n {
		e := &evs[k]
		if s.picked != nil {
			e = &evs[s.picked[k]]
		}
		if k == 0 { // Producers submit the events of one app at a time, or stand for all of them.
			p.tenant.came(e.App)
		}
		weight := weigh(e)
		if b.full(weight, most) {
			if run.n > 0 {
				t.parts = append(t.parts, run)
			}
			b = p.extend()
			b.submits++
			run = part{result: b.result, partition: p.partition}
		}
		b.builder.Add(e)
		run.n++
		// A submit that weighs more than the queue may hold has acquired less than it weighs.
		taken := min(weight, acquired)
		b.queued += taken
		acquired -= taken
	}
	t.parts = append(t.parts, run)
	p.stats.queued.Add(int64(n))
	p.notify()
}

// full reports whether an event of this weight has to go into the next batch, where so many events
// are the most.
func (b *batch) full(weight int64, most int) bool {
	n := b.builder.Len()
	return n >= most || n > 0 && int64(b.builder.Size())+weight > maxBatchBytes
}

// open returns the batch that producers add to. p.mu is held.
func (p *publisher) open() *batch {
	if len(p.queue) == 0 {
		return p.extend()
	}
	return p.queue[len(p.queue)-1]
}

// extend begins a batch at the end of the queue. p.mu is held.
func (p *publisher) extend() *batch {
	b := new(batch)
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	b.result = &result{done: make(chan struct{})}
	p.queue = append(p.queue, b)
	return b
}

// take removes the first batch of the queue and returns it, or nil. If closedOnly, it takes only a
// batch that cannot grow any more.
func (p *publisher) take(closedOnly bool) *batch {
	most := p.fold.mostEvents()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || closedOnly && len(p.queue) == 1 && p.queue[0].builder.Len() < most {
		return nil
	}
	b := p.queue[0]
	p.queue = append(p.queue[:0], p.queue[1:]...)
	return b
}

// await takes the first batch of the queue as soon as there is one; nil says that there will be
// none. Producers that are ready to run go first: a producer that submits wakes this goroutine,
// which would run next and find the events of that producer alone.
func (p *publisher) await() *batch {
	for {
		runtime.Gosched()
		if b := p.take(false); b != nil {
			return b
		}
		p.mu.Lock()
		done := p.closed && len(p.queue) == 0
		p.mu.Unlock()
		if done {
			return nil
		}
		<-p.wake
	}
}

// recycle empties a batch that was encoded, for reuse.
func (p *publisher) recycle(b *batch) {
	b.builder.Reset()
	b.result, b.submits, b.queued = nil, 0, 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
}

// close has the goroutine end once the queue is empty.
func (p *publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.notify()
}

// notify wakes the goroutine.
func (p *publisher) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
