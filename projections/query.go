package projections

import (
	"cmp"
	"errors"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// query answers a question with the partition locked, and keeps the cache within its bounds.
func query[T any](p *Partition, f func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := f()
	p.evict()
	return v, err
}

// Message returns the message with the id. Of an id used in several conversations of the partition,
// it is the message of the oldest one. The error is ErrNotFound if there is none.
func (p *Partition) Message(appKey, id string) (Message, error) {
	return query(p, func() (Message, error) {
		m, err := p.find(appKey, id)
		if err != nil {
			return Message{}, err
		}
		return m.view(), nil
	})
}

// Counts returns the numbers of those of the messages that exist.
func (p *Partition) Counts(appKey string, ids []string) (map[string]Counts, error) {
	return query(p, func() (map[string]Counts, error) {
		out := make(map[string]Counts, len(ids))
		for _, id := range ids {
			m, err := p.find(appKey, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out[id] = m.counts()
		}
		return out, nil
	})
}

// Readers returns the readers of a message from offset on, in the order of reading. The error is
// ErrNotFound if there is no such message.
func (p *Partition) Readers(appKey, id string, offset, limit int) (ReaderPage, error) {
	return query(p, func() (ReaderPage, error) {
		m, err := p.find(appKey, id)
		if err != nil {
			return ReaderPage{}, err
		}
		page := ReaderPage{Total: int(m.readers), Readers: []Reader{}}
		n := 0
		err = m.eachReader(func(o uint32, at int64, content []byte) bool {
			if n++; n <= offset {
				return true
			}
			if len(page.Readers) == limit {
				page.Next = n - 1
				return false
			}
			page.Readers = append(page.Readers, Reader{User: m.conv.members[o].user, ReadAt: at, Content: string(content)})
			return true
		})
		return page, err
	})
}

// NonReaders returns the eligible readers who have not read, in the order they became members, from
// those with an ordinal of at least after. The error is ErrNotFound if there is no such message.
func (p *Partition) NonReaders(appKey, id string, after, limit int) (NonReaderPage, error) {
	return query(p, func() (NonReaderPage, error) {
		m, err := p.find(appKey, id)
		if err != nil {
			return NonReaderPage{}, err
		}
		page := NonReaderPage{Total: int(m.eligible) - int(m.readers), Users: []string{}}
		if m.recalled() || m.state() != msgTracked {
			return page, nil
		}
		hidden, err := m.hiddenReaders()
		if err != nil {
			return page, err
		}
		for o := max(after, 0); o < len(m.conv.members) && len(page.Users) < page.Total; o++ {
			u := &m.conv.members[o]
			if uint32(o) == m.sender || m.hasRead(uint32(o)) && !hidden[uint32(o)] || m.conv.group() && !u.wasThere(m.seq) {
				continue
			}
			if len(page.Users) == limit {
				page.Next = o
				break
			}
			page.Users = append(page.Users, u.user)
		}
		return page, nil
	})
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

// Knows reports whether the user is, or ever was, in a conversation of this partition.
func (p *Partition) Knows(appKey, user string) (bool, error) {
	return query(p, func() (bool, error) {
		a := p.apps.byKey[appKey]
		if a == nil {
			return false, nil
		}
		nums, err := p.conversationsOfUser(a, user)
		return len(nums) > 0, err
	})
}

// Conversations returns the user's conversations of this partition, groups by id before single
// chats by peer.
func (p *Partition) Conversations(appKey, user string) ([]ConversationView, error) {
	return query(p, func() ([]ConversationView, error) {
		a := p.apps.byKey[appKey]
		if a == nil {
			return nil, nil
		}
		nums, err := p.conversationsOfUser(a, user)
		if err != nil {
			return nil, err
		}
		var out []ConversationView
		for _, num := range nums {
			c, err := p.convByNum(num)
			if err != nil {
				return nil, err
			}
			o, ok := c.ordinal(user)
			if !ok {
				return nil, errCorrupt
			}
			if c.dissolved || !c.members[o].active() {
				continue
			}
			out = append(out, c.view(o))
		}
		SortConversations(out)
		return out, nil
	})
}

// view is the conversation as it stands in a member's list.
func (c *conversation) view(o uint32) ConversationView {
	u := &c.members[o]
	v := ConversationView{Group: c.name.group, Unread: int(c.unreadBy(u)), LastReadAt: u.lastReadAt, Marked: u.marked()}
	if !c.group() {
		v.Peer = c.members[1-o].user
	}
	return v
}

// SortConversations puts groups by id before single chats by peer.
func SortConversations(list []ConversationView) {
	slices.SortFunc(list, func(x, y ConversationView) int {
		if single := x.Group == ""; single != (y.Group == "") {
			if single {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Peer, y.Peer))
	})
}
