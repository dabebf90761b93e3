package eventlog

import (
	"context"
	"time"
)

// findTimeout bounds one search of the log.
const findTimeout = 30 * time.Second

// find looks for an entry that may have been stored by an earlier try, in all that came after the
// last entry known to be stored. It returns the sequence of the entry, or 0 and the last sequence of
// the log at that time. A further search of the same entry goes on where this one ended.
func (p *partition) find(d *delivery) (sequence, last uint64, err error) {
	ctx, cancel := context.WithTimeout(p.log.stopping, findTimeout)
	defer cancel()
	_, last, err = p.log.Bounds(ctx, p.id)
	if err != nil {
		return 0, 0, err
	}
	from := max(p.last, d.searched)
	if last < from {
		p.log.fail(&AheadError{Partition: p.id, After: from, Last: last})
		return 0, 0, context.Cause(p.log.stopping)
	}
	if last == from {
		return 0, last, nil
	}
	r, err := p.log.openReader(ctx, p.id, from, true)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	for {
		m, err := r.next(ctx)
		if err != nil {
			return 0, 0, err
		}
		if m.id == d.out.id {
			return m.Sequence, 0, nil
		}
		d.searched = m.Sequence
		if m.Sequence >= last {
			return 0, d.searched, nil
		}
	}
}
