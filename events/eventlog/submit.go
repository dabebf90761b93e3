package eventlog

import (
	"context"

	"github.com/receiptd/receiptd/events"
)

// Submit queues events, each for the partition of its conversation, and returns at once when there
// is room; it does not wait until they are stored, the ticket does. Either all events are queued
// or, with an error, none. Events of the same partition are stored in the order given, after those
// of submits that returned before. The slice and its strings may be reused when Submit returns.
//
// The events must be valid ([events.Event.Validate]) and of a conversation. When the queue is full,
// Submit waits for room, fairly by app; the error is [ErrOverloaded] when ctx ends first or too
// many are waiting already, and [ErrClosed] or [ErrUnavailable] when the log takes nothing
// any more.
func (l *Log) Submit(ctx context.Context, evs []events.Event) (*Ticket, error) {
	r := routings.Get().(*routing)
	defer routings.Put(r)
	r.route(evs, len(l.publishers))
	return l.submit(ctx, evs, r)
}

// SubmitTo is Submit for events that receiptd addresses to a partition itself, whatever their
// conversation.
func (l *Log) SubmitTo(ctx context.Context, partition int, evs []events.Event) (*Ticket, error) {
	if err := l.checkPartition(partition); err != nil {
		return nil, err
	}
	r := routings.Get().(*routing)
	defer routings.Put(r)
	r.routeAll(evs, partition)
	return l.submit(ctx, evs, r)
}

// Append submits events and waits until they are stored. With an error of the wait it returns the
// ticket too, which knows what became of each event; without a ticket nothing was queued.
func (l *Log) Append(ctx context.Context, evs []events.Event) (*Ticket, error) {
	t, err := l.Submit(ctx, evs)
	if err != nil {
		return nil, err
	}
	return t, t.Wait(ctx)
}

func (l *Log) submit(ctx context.Context, evs []events.Event, r *routing) (*Ticket, error) {
	if err := l.admit(ctx, evs, r); err != nil {
		return nil, err
	}
	l.submits.RLock()
	defer l.submits.RUnlock()
	if l.closed || l.stopping.Err() != nil {
		l.release(r.shares)
		return nil, l.refusal()
	}
	t := &Ticket{partitionOf: r.partitionOf}
	t.parts = t.inline[:0]
	for _, share := range r.shares {
		l.publishers[share.partition].add(evs, share, t)
	}
	return t, nil
}

// admit acquires room in the queue of every partition that the events go to, or in none. All
// submits go through the partitions in the same order, so that none waits for another in a circle.
func (l *Log) admit(ctx context.Context, evs []events.Event, r *routing) (err error) {
	for i := range r.shares {
		s := &r.shares[i]
		// Producers submit the events of one app at a time, or stand for all of them.
		if s.acquired, err = l.publishers[s.partition].acquire(ctx, evs[0].App, s.weight); err != nil {
			l.release(r.shares[:i])
			return err
		}
	}
	return nil
}

// release gives back what was acquired for shares that are not queued after all.
func (l *Log) release(shares []share) {
	for _, s := range shares {
		l.publishers[s.partition].release(s.acquired)
	}
}

// refusal is why a submit is not taken any more.
func (l *Log) refusal() error {
	if err := l.Err(); err != nil {
		return err
	}
	return ErrClosed
}
