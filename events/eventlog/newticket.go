package eventlog

import (
	"cmp"
	"slices"
)

// NewTicket makes the ticket of events that are stored at these locations, in the order of a
// submit; or, with an error, of events that could not be stored. An event at sequence 0 is
// never stored: a wait for it ends with the context. NewTicket is for programs that put
// something else in the place of a [Log], as their tests do.
func NewTicket(locations []Location, err error) *Ticket {
	t := &Ticket{parts: make([]part, len(locations)), partitionOf: make([]uint16, len(locations))}
	for i, at := range locations {
		r := &result{done: make(chan struct{}), err: err}
		if err == nil {
			r.sequence = at.Sequence
		}
		if err != nil || at.Sequence != 0 {
			close(r.done)
		}
		t.partitionOf[i] = uint16(at.Partition)
		t.parts[i] = part{result: r, partition: at.Partition, first: at.Index, n: 1}
	}
	slices.SortStableFunc(t.parts, func(a, b part) int { return cmp.Compare(a.partition, b.partition) })
	return t
}
