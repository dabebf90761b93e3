package eventlog

import (
	"context"
	"time"
)

// findTimeout bounds one search of the log.
const findTimeout = 30*time.Second + staleMax

// find looks for the entry, which an earlier try may have stored, in all that came after the last
// entry known to be stored. It returns the sequence of the entry, or 0 and the last sequence of the
// log at that time. A further search for the same entry goes on where this one ended.
func (d *publication) find() (sequence, last uint64, err error) {
	p := d.p
	ctx, cancel := context.WithTimeout(p.log.stopping, findTimeout)
	defer cancel()
	from := max(p.last, d.searched)
	_, last, err = p.log.Reach(ctx, p.partition, from)
	if err != nil {
		return 0, 0, err
	}
	if last < from {
		p.log.fail(&AheadError{Partition: p.partition, After: from, Last: last})
		return 0, 0, context.Cause(p.log.stopping)
	}
	if last == from {
		return 0, last, nil
	}
	r, err := p.log.openReader(ctx, p.partition, from, true)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	for {
		m, err := r.next(ctx)
		if err != nil {
			return 0, 0, err
		}
		if m.MsgID == d.out.id {
			return m.Sequence, 0, nil
		}
		d.searched = m.Sequence
		if m.Sequence >= last {
			return 0, d.searched, nil
		}
	}
}
