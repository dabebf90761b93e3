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
	var left departed
	var sentAt int64
	late, all := false, true
	log, err := query(p, func() ([]byte, error) {
		m, err := p.named(c, id)
		switch {
		case err != nil:
			return nil, err
		case m.counted():
			return nil, ErrNoNames
		}
		page.Total, members, sentAt, late = int(m.readers), m.conv.members, m.sentAt, m.late
		all = !remaining || m.conv.active == len(members)
		return m.log, nil
	})
	if err == nil && !all {
		left, err = p.departed(c, len(members))
	}
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
func (page *ReaderPage) fillSorted(log []byte, sentAt int64, members []member, left departed, offset, limit int) error {
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
		if !left.has(r.ordinal) {
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

// departed are members of a group, by ordinal, who have left it; nil if there are none.
type departed []bool

func (d departed) has(ordinal uint32) bool { return d != nil && d[ordinal] }

// departed are who of the first n members are none any more. Members do not cease to be listed,
// and the fold goes on between some of them and the next.
func (p *Partition) departed(c *events.Conversation, n int) (departed, error) {
	left := make(departed, n)
	return left, p.eachMember(c, n, func(o uint32, u *member) { left[o] = !u.active() })
}

// eachMember calls f with the first n members of a conversation, which has at least as many, with
// the partition locked, and lets the fold go on after some of them.
func (p *Partition) eachMember(name *events.Conversation, n int, f func(o uint32, u *member)) error {
	for o := 0; o < n; {
		_, err := query(p, func() (struct{}, error) {
			c, err := p.conv(p.apps.byKey[name.App], nameOf(name))
			if err == nil && c == nil {
				err = errCorrupt
			}
			if err != nil {
				return struct{}{}, err
			}
			for end := min(n, o+memberStep); o < end; o++ {
				f(uint32(o), &c.members[o])
			}
			return struct{}{}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Remaining returns the message of a conversation as if those who have left the group were none of
// its eligible readers. Of one of which receipts are only counted, it is not known when those who
// remain have read, unless all of its readers do. The error is ErrNotFound if the conversation has
// no such message.
//
// What is told of the message is as of one moment. As in [Partition.Readers], its read set is gone
// through without holding up the fold, and so are the members, some at a time.
func (p *Partition) Remaining(c events.Conversation, id string) (Message, error) {
	var m message // a copy of what is needed
	members := 0
	v, err := query(p, func() (Message, error) {
		found, err := p.named(&c, id)
		if err != nil {
			return Message{}, err
		}
		m.header = found.header
		members = 0
		if g := found.conv; g.active < len(g.members) && m.eligible > 0 {
			members = len(g.members)
			m.log, m.bits, m.more = found.log, found.bits, found.more
			if m.counted() { // bits change where they are
				m.log, m.more = slices.Clone(m.log), slices.Clone(m.more)
			}
		}
		return found.view(), nil
	})
	if err != nil || members == 0 {
		return v, err
	}
	left := make(departed, members)
	err = p.eachMember(&c, members, func(o uint32, u *member) {
		if left[o] = !u.active(); !left[o] || o == m.sender || !u.wasThere(m.seq) {
			return
		}
		v.Eligible--
		if m.counted() && m.hasCounted(o) {
			v.Read--
			v.FirstReadAt, v.LastReadAt = 0, 0
		}
	})
	if err == nil && !m.counted() {
		v.Read, v.FirstReadAt, v.LastReadAt = 0, 0, 0
		err = eachReader(m.log, m.sentAt, func(o uint32, at int64, _ []byte) bool {
			if left.has(o) {
				return true
			}
			if v.Read++; v.Read == 1 || at < v.FirstReadAt {
				v.FirstReadAt = at
			}
			v.LastReadAt = max(v.LastReadAt, at)
			return true
		})
	}
	v.Delivered = v.Read // only groups are left
	return v, err
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
	l := nonReaderList{p: p, of: c, id: id, next: max(after, 0), remaining: remaining, page: NonReaderPage{Users: []string{}}}
	var err error
	if l.hidden, err = p.hiddenReaders(c, id); err != nil {
		return l.page, err
	}
	for done := false; !done; {
		if done, err = query(p, func() (bool, error) { return l.step(limit) }); err != nil {
			return l.page, err
		}
	}
	if remaining {
		m, err := p.Remaining(*c, id)
		l.page.Total = m.Eligible - m.Read
		return l.page, err
	}
	return l.page, nil
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

// nonReaderList is a page of nonreaders that is being made, a step at a time.
type nonReaderList struct {
	p         *Partition
	of        *events.Conversation
	id        string          // of the message
	next      int             // the ordinal to go on with
	remaining bool            // without those who have left
	hidden    map[uint32]bool // whose read is hidden
	page      NonReaderPage
}

// step adds the nonreaders among the next members, and reports whether the page is complete.
func (l *nonReaderList) step(limit int) (done bool, err error) {
	m, err := l.p.named(l.of, l.id)
	if err != nil {
		return true, err
	}
	page := &l.page
	page.Total = int(m.eligible) - int(m.readers)
	if m.recalled() || m.state() != msgTracked {
		return true, nil
	}
	for end := min(len(m.conv.members), l.next+memberStep); l.next < end; l.next++ {
		o := uint32(l.next)
		u := &m.conv.members[o]
		switch {
		case o == m.sender || m.hasRead(o) && !l.hidden[o] || m.conv.group() && !u.wasThere(m.seq):
			continue
		case l.remaining && !u.active():
			continue
		case len(page.Users) == limit:
			page.Next = l.next
			return true, nil
		}
		page.Users = append(page.Users, u.user)
		if !u.active() {
			page.Left = append(page.Left, u.user)
		}
	}
	return l.next >= len(m.conv.members) || len(page.Users) >= page.Total, nil
}
