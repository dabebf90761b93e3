package projections

import (
	"github.com/receiptd/receiptd/events"
)

// query answers a question with the partition locked, and keeps the cache within its bounds. What an
// Apply that failed has left is no answer: it has a part of an entry, and not the rest.
func query[T any](p *Partition, f func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		var none T
		return none, p.failed
	}
	v, err := f()
	p.evict()
	return v, err
}

// Readers returns the readers of a message from offset on, in the order of reading. The error is
// ErrNotFound if the conversation has no such message.
//
// A read set only grows, and so does the list of members, whose ids do not change: what there was
// of both is gone through without holding up the fold.
func (p *Partition) Readers(c events.Conversation, id string, offset, limit int) (ReaderPage, error) {
	page := ReaderPage{Readers: []Reader{}}
	var members []member
	var sentAt int64
	log, err := query(p, func() ([]byte, error) {
		m, err := p.named(&c, id)
		if err != nil {
			return nil, err
		}
		page.Total, members, sentAt = int(m.readers), m.conv.members, m.sentAt
		return m.log, nil
	})
	if err != nil {
		return page, err
	}
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

// memberStep is how many members a page looks at before it lets the fold go on.
const memberStep = 4096

// NonReaders returns the eligible readers who have not read, in the order they became members, from
// those with an ordinal of at least after. The error is ErrNotFound if the conversation has no such
// message.
func (p *Partition) NonReaders(c events.Conversation, id string, after, limit int) (NonReaderPage, error) {
	page := NonReaderPage{Users: []string{}}
	for o, done := max(after, 0), false; !done; {
		_, err := query(p, func() (_ struct{}, err error) {
			o, done, err = p.nonReaders(&c, id, o, limit, &page)
			return struct{}{}, err
		})
		if err != nil {
			return page, err
		}
	}
	return page, nil
}

// nonReaders adds the non-readers among the next members, from ordinal o on, to a page. It returns
// the ordinal to go on with, and whether the page is complete.
func (p *Partition) nonReaders(c *events.Conversation, id string, o, limit int, page *NonReaderPage) (next int, done bool, err error) {
	m, err := p.named(c, id)
	if err != nil {
		return o, true, err
	}
	page.Total = int(m.eligible) - int(m.readers)
	if m.recalled() || m.state() != msgTracked {
		return o, true, nil
	}
	hidden, err := m.hiddenReaders()
	if err != nil {
		return o, true, err
	}
	for end := min(len(m.conv.members), o+memberStep); o < end; o++ {
		u := &m.conv.members[o]
		if uint32(o) == m.sender || m.hasRead(uint32(o)) && !hidden[uint32(o)] || m.conv.group() && !u.wasThere(m.seq) {
			continue
		}
		if len(page.Users) == limit {
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

// group returns a group, or nil if it is unknown or dissolved.
func (p *Partition) group(appKey, group string) (*conversation, error) {
	a := p.apps.byKey[appKey]
	if a == nil {
		return nil, nil
	}
	c, err := p.conv(a, convName{group: group})
	if err != nil || c == nil || c.dissolved {
		return nil, err
	}
	return c, nil
}

// IsMember reports whether the user is a member of the group now.
func (p *Partition) IsMember(appKey, group, user string) (bool, error) {
	return query(p, func() (bool, error) {
		c, err := p.group(appKey, group)
		if c == nil || err != nil {
			return false, err
		}
		o, ok := c.ordinal(user)
		return ok && c.members[o].active(), nil
	})
}

// WasMember reports whether the user is, or ever was, a member of the group, be it dissolved.
func (p *Partition) WasMember(appKey, group, user string) (bool, error) {
	return query(p, func() (bool, error) {
		a := p.apps.byKey[appKey]
		if a == nil {
			return false, nil
		}
		c, err := p.conv(a, convName{group: group})
		if c == nil || err != nil {
			return false, err
		}
		_, ok := c.ordinal(user)
		return ok, nil
	})
}

// Members returns the current members of a group, in the order in which they first joined, from
// those with an ordinal of at least after. The error is ErrNotFound for a group that is unknown or
// dissolved.
func (p *Partition) Members(appKey, group string, after, limit int) (MemberPage, error) {
	page := MemberPage{Members: []GroupMember{}}
	for o, done := max(after, 0), false; !done; {
		_, err := query(p, func() (_ struct{}, err error) {
			o, done, err = p.members(appKey, group, o, limit, &page)
			return struct{}{}, err
		})
		if err != nil {
			return page, err
		}
	}
	return page, nil
}

// members adds the current ones among the next members, from ordinal o on, to a page. It returns
// the ordinal to go on with, and whether the page is complete.
func (p *Partition) members(appKey, group string, o, limit int, page *MemberPage) (next int, done bool, err error) {
	c, err := p.group(appKey, group)
	if err != nil {
		return o, true, err
	}
	if c == nil {
		return o, true, ErrNotFound
	}
	page.Total = c.active
	for end := min(len(c.members), o+memberStep); o < end; o++ {
		m := &c.members[o]
		if !m.active() {
			continue
		}
		if len(page.Members) == limit {
			page.Next = o
			return o, true, nil
		}
		page.Members = append(page.Members, GroupMember{m.user, m.role})
	}
	return o, o >= len(c.members), nil
}

// Group returns a group and its members. The error is ErrNotFound for a group that is unknown or
// dissolved.
func (p *Partition) Group(appKey, group string) (Group, error) {
	return query(p, func() (Group, error) {
		c, err := p.group(appKey, group)
		if err != nil {
			return Group{}, err
		}
		if c == nil {
			return Group{}, ErrNotFound
		}
		g := Group{Members: make([]GroupMember, 0, c.active)}
		for i := range c.members {
			if m := &c.members[i]; m.active() {
				g.Members = append(g.Members, GroupMember{m.user, m.role})
				if m.role == events.RoleOwner {
					g.Owner = m.user
				}
			}
		}
		return g, nil
	})
}
