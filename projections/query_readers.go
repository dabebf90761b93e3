package projections

import (
	"cmp"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// Readers returns a page of the readers of a message, in the order of reading. The error is
// ErrNotFound if the conversation has no such message, and ErrNoNames if its receipts are
// only counted.
//
// The page begins after the offset-th reader in the order of the log, which is that of reading but
// for those who report late that they read before others. So pages that follow each other list
// nobody twice, and leave out nobody who is in the read set when the first of them is asked for.
//
// A read set only grows, and so does the list of members, whose ids do not change: what there was
// of both is gone through without holding up the fold.
func (p *Partition) Readers(c events.Conversation, id string, offset, limit int) (ReaderPage, error) {
	return p.readers(&c, id, offset, limit, false)
}

// RemainingReaders is [Partition.Readers] without those who have left the group.
func (p *Partition) RemainingReaders(c events.Conversation, id string, offset, limit int) (ReaderPage, error) {
	return p.readers(&c, id, offset, limit, true)
}

func (p *Partition) readers(c *events.Conversation, id string, offset, limit int, remaining bool) (ReaderPage, error) {
	page := ReaderPage{Readers: []Reader{}}
	var members []member
	var left []bool
	var sentAt int64
	late := false
	log, err := query(p, func() ([]byte, error) {
		m, err := p.named(c, id)
		switch {
		case err != nil:
			return nil, err
		case m.counted():
			return nil, ErrNoNames
		case remaining:
			left = m.conv.left()
		}
		page.Total, members, sentAt, late = int(m.readers), m.conv.members, m.sentAt, m.late
		return m.log, nil
	})
	if err != nil {
		return page, err
	}
	if late || left != nil {
		return page, page.fillSorted(log, sentAt, members, left, offset, limit)
	}
	page.Before = min(offset, page.Total)
	n := 0
	err = eachReader(log, sentAt, func(o uint32, at int64, content []byte) bool {
		if n++; n <= offset {
			return true
		}
		if len(page.Readers) == limit {
			page.Next = n - 1
			return false
		}
		page.Readers = append(page.Readers, Reader{User: members[o].user, ReadAt: at, Content: string(content)})
		return true
	})
	return page, err
}

// fillSorted fills a page of a read set that has to be sorted, or of which readers are left out.
func (page *ReaderPage) fillSorted(log []byte, sentAt int64, members []member, left []bool, offset, limit int) error {
	type read struct {
		n       int // of the reader, in the order of the log, from 1 on
		at      int64
		ordinal uint32
		content []byte
	}
	var list []read
	err := eachReader(log, sentAt, func(o uint32, at int64, content []byte) bool {
		list = append(list, read{len(list) + 1, at, o, content})
		return true
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b read) int { return cmp.Compare(a.at, b.at) })
	page.Total = 0
	passed, last := offset == 0, 0
	for _, r := range list {
		if remains := left == nil || !left[r.ordinal]; remains {
			page.Total++
			switch {
			case !passed:
				page.Before++
			case len(page.Readers) < limit:
				page.Readers = append(page.Readers, Reader{User: members[r.ordinal].user, ReadAt: r.at, Content: string(r.content)})
				last = r.n
			default:
				page.Next = last
			}
		}
		passed = passed || r.n == offset
	}
	return nil
}

// left says of each member whether they are none any more; nil if all of them are members.
func (c *conversation) left() []bool {
	if c.active == len(c.members) {
		return nil
	}
	left := make([]bool, len(c.members))
	for o := range c.members {
		left[o] = !c.members[o].active()
	}
	return left
}

// Remaining returns the message of a conversation as if those who have left the group were none of
// its eligible readers. Of one of which receipts are only counted, it is not known when those who
// remain have read, unless all of its readers do. The error is ErrNotFound if the conversation has
// no such message.
func (p *Partition) Remaining(c events.Conversation, id string) (Message, error) {
	return query(p, func() (Message, error) {
		m, err := p.named(&c, id)
		if err != nil {
			return Message{}, err
		}
		return p.remaining(m)
	})
}

func (p *Partition) remaining(m *message) (Message, error) {
	v := m.view()
	left := m.conv.left()
	if left == nil || m.eligible == 0 {
		return v, nil
	}
	for o, is := range left {
		if !is || uint32(o) == m.sender || !m.conv.members[o].wasThere(m.seq) {
			continue
		}
		v.Eligible--
		if m.counted() && m.hasCounted(uint32(o)) {
			v.Read--
			v.FirstReadAt, v.LastReadAt = 0, 0
		}
	}
	if !m.counted() {
		v.Read, v.FirstReadAt, v.LastReadAt = 0, 0, 0
		err := m.eachReader(func(o uint32, at int64, _ []byte) bool {
			if left[o] {
				return true
			}
			if v.Read++; v.Read == 1 || at < v.FirstReadAt {
				v.FirstReadAt = at
			}
			v.LastReadAt = max(v.LastReadAt, at)
			return true
		})
		if err != nil {
			return v, err
		}
	}
	v.Delivered = v.Read // only groups are left
	return v, nil
}

// memberStep is how many members a page looks at before it lets the fold go on.
const memberStep = 1024

// NonReaders returns the eligible readers who have not read, in the order they became members, from
// those with an ordinal of at least after. The error is ErrNotFound if the conversation has no such
// message, and ErrNoNames if its receipts are only counted.
func (p *Partition) NonReaders(c events.Conversation, id string, after, limit int) (NonReaderPage, error) {
	return p.nonReaders(&c, id, after, limit, false)
}

// RemainingNonReaders is [Partition.NonReaders] without those who have left the group.
func (p *Partition) RemainingNonReaders(c events.Conversation, id string, after, limit int) (NonReaderPage, error) {
	return p.nonReaders(&c, id, after, limit, true)
}

func (p *Partition) nonReaders(c *events.Conversation, id string, after, limit int, remaining bool) (NonReaderPage, error) {
	page := NonReaderPage{Users: []string{}}
	hidden, err := p.hiddenReaders(c, id)
	if err != nil {
		return page, err
	}
	for o, done := max(after, 0), false; !done; {
		_, err := query(p, func() (_ struct{}, err error) {
			o, done, err = p.nextNonReaders(c, id, o, limit, remaining, hidden, &page)
			return struct{}{}, err
		})
		if err != nil {
			return page, err
		}
	}
	if remaining {
		m, err := p.Remaining(*c, id)
		page.Total = m.Eligible - m.Read
		return page, err
	}
	return page, nil
}

// hiddenReaders are the members whose read of a message is hidden. As in readers, the read set is
// gone through without holding up the fold. The error is ErrNoNames if receipts are only counted.
func (p *Partition) hiddenReaders(c *events.Conversation, id string) (hidden map[uint32]bool, err error) {
	var sentAt int64
	log, err := query(p, func() ([]byte, error) {
		m, err := p.named(c, id)
		switch {
		case err != nil:
			return nil, err
		case m.counted():
			return nil, ErrNoNames
		case !m.hidden:
			return nil, nil
		}
		sentAt = m.sentAt
		return m.log, nil
	})
	if err != nil || len(log) == 0 {
		return nil, err
	}
	return hiddenIn(log, sentAt)
}

// nextNonReaders adds the nonreaders among the next members, from ordinal o on, to a page. It
// returns the ordinal to go on with, and whether the page is complete.
func (p *Partition) nextNonReaders(
	c *events.Conversation, id string, o, limit int, remaining bool, hidden map[uint32]bool, page *NonReaderPage,
) (next int, done bool, err error) {
	m, err := p.named(c, id)
	if err != nil {
		return o, true, err
	}
	page.Total = int(m.eligible) - int(m.readers)
	if m.recalled() || m.state() != msgTracked {
		return o, true, nil
	}
	for end := min(len(m.conv.members), o+memberStep); o < end; o++ {
		u := &m.conv.members[o]
		switch {
		case uint32(o) == m.sender || m.hasRead(uint32(o)) && !hidden[uint32(o)] || m.conv.group() && !u.wasThere(m.seq):
			continue
		case remaining && !u.active():
			continue
		case len(page.Users) == limit:
			page.Next = o
			return o, true, nil
		}
		page.Users = append(page.Users, u.user)
		if !u.active() {
			page.Left = append(page.Left, u.user)
		}
	}
	return o, o >= len(m.conv.members) || len(page.Users) >= page.Total, nil
}
