package eventlog

import (
	"cmp"
	"context"
	"iter"
	"slices"
)

// result is what becomes of one entry under way. It is set once, before done is closed.
type result struct {
	done     chan struct{}
	sequence uint64
	err      error
}

// stored is the sequence of the entry, 0 while it is not stored or if it failed.
func (r *result) stored() uint64 {
	select {
	case <-r.done:
		return r.sequence
	default:
		return 0
	}
}

// part is a run of the events of a submit that went into one entry, in their order.
type part struct {
	result    *result
	partition int
	first     int // index of the run's first event in the entry
	n         int
}

// Ticket stands for a submit under way. It is small, and may be dropped when nobody needs the
// answer.
type Ticket struct {
	parts []part
	// partitionOf has the partition of each event, if there is more than one.
	partitionOf []uint16
	inline      [2]part // memory of parts while they are few
}

// Wait waits until every event of the submit is stored, or one of its entries failed: the first
// such error is returned. The others may then still be stored; [Ticket.Positions] and
// [Ticket.Locate] know which were. When the context ends first, its error is returned and the
// submit goes on.
func (t *Ticket) Wait(ctx context.Context) error {
	var failed error
	for i := range t.parts {
		r := t.parts[i].result
		select {
		case <-r.done:
		default:
			select {
			case <-r.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if r.err != nil && failed == nil {
			failed = r.err
		}
	}
	return failed
}

// Positions returns, for each partition that events of the submit are stored in, the last entry
// that has any. It is complete after Wait has returned nil.
func (t *Ticket) Positions() []Position {
	positions := make([]Position, 0, 2)
	for i := range t.parts {
		p := &t.parts[i]
		sequence := p.result.stored()
		if sequence == 0 {
			continue
		}
		// Parts of one partition follow one another.
		if last := len(positions) - 1; last >= 0 && positions[last].Partition == p.partition {
			positions[last].Sequence = sequence
			continue
		}
		positions = append(positions, Position{Partition: p.partition, Sequence: sequence})
	}
	return positions
}

// Locate returns where event i of the submit is. It takes time in proportion to i; see
// [Ticket.Locations] for all of them.
func (t *Ticket) Locate(i int) Location {
	if t.partitionOf == nil {
		return locate(t.parts, i)
	}
	partition, rank := t.partitionOf[i], 0
	for _, p := range t.partitionOf[:i] {
		if p == partition {
			rank++
		}
	}
	return locate(t.partsOf(int(partition)), rank)
}

// Locations yields where each event of the submit is, in the order of the submit.
func (t *Ticket) Locations() iter.Seq[Location] {
	if t.partitionOf == nil {
		return func(yield func(Location) bool) {
			for i := range t.parts {
				p := &t.parts[i]
				for k := range p.n {
					if !yield(p.location(k)) {
						return
					}
				}
			}
		}
	}
	return t.scattered
}

// scattered yields the locations of events of several partitions, with a cursor for each of them.
func (t *Ticket) scattered(yield func(Location) bool) {
	type cursor struct {
		parts []part
		next  int
	}
	cursors := make(map[uint16]*cursor)
	for _, partition := range t.partitionOf {
		c := cursors[partition]
		if c == nil {
			c = &cursor{parts: t.partsOf(int(partition))}
			cursors[partition] = c
		}
		for c.next == c.parts[0].n {
			c.parts, c.next = c.parts[1:], 0
		}
		if !yield(c.parts[0].location(c.next)) {
			return
		}
		c.next++
	}
}

// partsOf returns the parts of one partition, which follow one another.
func (t *Ticket) partsOf(partition int) []part {
	from := 0
	for t.parts[from].partition != partition {
		from++
	}
	to := from
	for to < len(t.parts) && t.parts[to].partition == partition {
		to++
	}
	return t.parts[from:to]
}

// locate finds event i of the events in parts.
func locate(parts []part, i int) Location {
	for k := range parts {
		if i < parts[k].n {
			return parts[k].location(i)
		}
		i -= parts[k].n
	}
	panic("eventlog: Locate: index out of range")
}

func (p *part) location(i int) Location {
	return Location{Partition: p.partition, Sequence: p.result.stored(), Index: p.first + i}
}

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
