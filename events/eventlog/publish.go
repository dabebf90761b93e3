package eventlog

import (
	"context"
	"sync"

	"github.com/receiptd/receiptd/events"
)

const (
	// maxQueuedBytes bounds, per partition, the events that are queued or under way, by their text
	// in memory. It holds several of the largest entries, so that the next is always ready.
	maxQueuedBytes = 8 << 20
	// maxWaiting bounds the producers that wait for room in one partition.
	maxWaiting = 1024

	// What weigh counts beside text, in bytes; more than each takes in an encoded entry.
	eventBytes    = 96
	memberBytes   = 8
	settingsBytes = 512
)

// Submit queues events, each for the partition of its conversation, and returns at once when there
// is room; it does not wait until they are stored, the ticket does. Either all events are queued or,
// with an error, none. Events of the same partition are stored in the order given, after those of
// submits that returned before. The slice and its strings are free for reuse when Submit returns.
//
// The events must be valid ([events.Event.Validate]) and of a conversation. When the queue is full,
// Submit waits for room; the error is [ErrOverloaded] when ctx ends first or many wait already,
// [ErrClosed] or [ErrUnavailable] when the log takes nothing any more.
func (l *Log) Submit(ctx context.Context, evs []events.Event) (*Ticket, error) {
	plan := plans.Get().(*plan)
	defer plans.Put(plan)
	plan.place(evs, len(l.partitions))
	return l.submit(ctx, evs, plan)
}

// SubmitTo is Submit for events that receiptd addresses to a partition itself, whatever their
// conversation.
func (l *Log) SubmitTo(ctx context.Context, partition int, evs []events.Event) (*Ticket, error) {
	if err := l.checkPartition(partition); err != nil {
		return nil, err
	}
	plan := plans.Get().(*plan)
	defer plans.Put(plan)
	plan.placeAll(evs, partition)
	return l.submit(ctx, evs, plan)
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

func (l *Log) submit(ctx context.Context, evs []events.Event, plan *plan) (*Ticket, error) {
	if err := l.admit(ctx, plan); err != nil {
		return nil, err
	}
	l.submits.RLock()
	defer l.submits.RUnlock()
	if l.closed || l.stopping.Err() != nil {
		for _, share := range plan.shares {
			l.partitions[share.partition].release(share.room)
		}
		return nil, l.refusal()
	}
	t := &Ticket{places: plan.places}
	t.parts = t.few[:0]
	for _, share := range plan.shares {
		l.partitions[share.partition].add(evs, share, t)
	}
	return t, nil
}

// admit takes room in every partition of the plan, or none. All submits go through the partitions
// in the same order, so none waits for another in a circle.
func (l *Log) admit(ctx context.Context, plan *plan) error {
	for i := range plan.shares {
		share := &plan.shares[i]
		share.room = min(share.weight, maxQueuedBytes)
		err := l.partitions[share.partition].acquire(ctx, share.room)
		if err == nil {
			continue
		}
		for _, share := range plan.shares[:i] {
			l.partitions[share.partition].release(share.room)
		}
		return err
	}
	return nil
}

// refusal is why a submit is not taken any more.
func (l *Log) refusal() error {
	if err := l.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// plan says where the events of a submit go.
type plan struct {
	shares []share
	// places has the partition of each event if there is more than one. It goes to the ticket.
	places []uint16

	// Memory kept from one plan to the next.
	order   []uint32
	counts  []int
	weights []int64
}

// share is what one partition gets of a submit.
type share struct {
	partition int
	// picked are the indices of the events; nil means all of them.
	picked []uint32
	weight int64
	room   int64 // taken from the partition's queue
}

var plans = sync.Pool{New: func() any { return new(plan) }}

// place finds the partition of each event and groups the events by it, keeping their order.
func (p *plan) place(evs []events.Event, partitions int) {
	if partitions == 1 || len(evs) == 0 {
		p.placeAll(evs, 0)
		return
	}
	p.counts = append(p.counts[:0], make([]int, partitions)...)
	p.weights = append(p.weights[:0], make([]int64, partitions)...)
	places := make([]uint16, len(evs))
	at, of := 0, &events.Event{}
	for i := range evs {
		e := &evs[i]
		// Events of a group tend to come together.
		if i == 0 || e.Group == "" || e.Group != of.Group || e.App != of.App {
			at, of = events.Partition(e, partitions), e
		}
		places[i] = uint16(at)
		p.counts[at]++
		p.weights[at] += weigh(e)
	}
	p.places, p.shares = places, p.shares[:0]
	if p.counts[places[0]] == len(evs) {
		p.places = nil
		p.shares = append(p.shares, share{partition: int(places[0]), weight: p.weights[places[0]]})
		return
	}
	p.group(places)
}

// group makes the shares of events in several partitions, in the order of the partitions.
func (p *plan) group(places []uint16) {
	if cap(p.order) < len(places) {
		p.order = make([]uint32, len(places))
	}
	order, next := p.order[:len(places)], 0
	for at, n := range p.counts {
		if n == 0 {
			continue
		}
		p.shares = append(p.shares, share{partition: at, picked: order[next : next+n : next+n], weight: p.weights[at]})
		p.counts[at] = next // from here on: where the next event of the partition goes
		next += n
	}
	for i, at := range places {
		order[p.counts[at]] = uint32(i)
		p.counts[at]++
	}
}

// placeAll puts all events into one partition.
func (p *plan) placeAll(evs []events.Event, partition int) {
	p.places, p.shares = nil, p.shares[:0]
	if len(evs) == 0 {
		return
	}
	s := share{partition: partition}
	for i := range evs {
		s.weight += weigh(&evs[i])
	}
	p.shares = append(p.shares, s)
}

// weigh is more than an event adds to the size of an encoded entry, and about what it takes in the queue.
func weigh(e *events.Event) int64 {
	n := eventBytes + len(e.App) + len(e.Group) + len(e.Peer) + len(e.User) + len(e.Message) + len(e.Content)
	if e.Kind == events.GroupCreated || e.Settings != nil {
		n += weighExtra(e)
	}
	return int64(n)
}

func weighExtra(e *events.Event) int {
	n := 0
	for _, users := range [][]string{e.Members, e.Admins} {
		for _, user := range users {
			n += memberBytes + len(user)
		}
	}
	if e.Settings != nil {
		n += settingsBytes
	}
	return n
}
