package eventlog

import (
	"sync"

	"github.com/receiptd/receiptd/events"
)

// routing says where the events of a submit go.
type routing struct {
	shares []share
	// partitionOf has the partition of each event if there is more than one. It goes to the ticket.
	partitionOf []uint16

	// Memory that is reused.
	order   []uint32
	counts  []int
	weights []int64
}

// share is what one partition gets of a submit.
type share struct {
	partition int
	// picked are the indices of the events; nil means all of them.
	picked   []uint32
	weight   int64
	acquired int64 // bytes of the queue's capacity; less than the weight if that exceeds the queue
}

var routings = sync.Pool{New: func() any { return new(routing) }}

// route finds the partition of each event and groups the events by it, keeping their order.
func (r *routing) route(evs []events.Event, partitions int) {
	if partitions == 1 || len(evs) == 0 {
		r.routeAll(evs, 0)
		return
	}
	r.counts = append(r.counts[:0], make([]int, partitions)...)
	r.weights = append(r.weights[:0], make([]int64, partitions)...)
	partitionOf := make([]uint16, len(evs))
	at, of := 0, &events.Event{}
	for i := range evs {
		e := &evs[i]
		// Events of a group tend to come together.
		if i == 0 || e.Group == "" || e.Group != of.Group || e.App != of.App {
			at, of = events.Partition(e, partitions), e
		}
		partitionOf[i] = uint16(at)
		r.counts[at]++
		r.weights[at] += weigh(e)
	}
	r.partitionOf, r.shares = partitionOf, r.shares[:0]
	if first := partitionOf[0]; r.counts[first] == len(evs) {
		r.partitionOf = nil
		r.shares = append(r.shares, share{partition: int(first), weight: r.weights[first]})
		return
	}
	r.group()
}

// group makes the shares of events in several partitions, in the order of the partitions.
func (r *routing) group() {
	if cap(r.order) < len(r.partitionOf) {
		r.order = make([]uint32, len(r.partitionOf))
	}
	order, next := r.order[:len(r.partitionOf)], 0
	for at, n := range r.counts {
		if n == 0 {
			continue
		}
		r.shares = append(r.shares, share{partition: at, picked: order[next : next+n : next+n], weight: r.weights[at]})
		r.counts[at] = next // from here on: where the next event of the partition goes
		next += n
	}
	for i, at := range r.partitionOf {
		order[r.counts[at]] = uint32(i)
		r.counts[at]++
	}
}

// routeAll sends all events to one partition.
func (r *routing) routeAll(evs []events.Event, partition int) {
	r.partitionOf, r.shares = nil, r.shares[:0]
	if len(evs) == 0 {
		return
	}
	s := share{partition: partition}
	for i := range evs {
		s.weight += weigh(&evs[i])
	}
	r.shares = append(r.shares, s)
}

// What weigh counts beside text, in bytes; more than each takes in an encoded entry.
const (
	eventBytes    = 96
	memberBytes   = 8
	settingsBytes = 512
)

// weigh is more than an event adds to the size of an encoded entry, and about what it takes in the
// queue.
func weigh(e *events.Event) int64 {
	n := eventBytes + len(e.App) + len(e.Group) + len(e.Peer) + len(e.User) + len(e.Message) + len(e.Content) + len(e.EventID) + len(e.Device)
	if e.Kind == events.GroupCreated || e.Settings != nil {
		n += weighAttributes(e)
	}
	return int64(n)
}

func weighAttributes(e *events.Event) int {
	n := 0
	for _, users := range [][]string{e.Members, e.Admins} {
		for _, user := range users {
			n += memberBytes + len(user)
		}
	}
	if e.Settings != nil {
		n += settingsBytes
		for i := range e.Settings.Alerts {
			n += eventBytes + len(e.Settings.Alerts[i].Name) + len(e.Settings.Alerts[i].ID)
		}
	}
	return n
}
