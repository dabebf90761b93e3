package projections

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/receiptd/receiptd/events"
)

type idRef struct {
	app uint32
	id  string
}

type userRef struct {
	app  uint32
	user string
}

// index finds by message id or user what no committed index has yet.
type index struct {
	messages map[idRef][]uint64
	users    map[userRef][]uint64
}

func (x *index) addMessage(r idRef, conv uint64) {
	if x.messages == nil {
		x.messages = map[idRef][]uint64{}
	}
	x.messages[r] = append(x.messages[r], conv)
}

func (x *index) addUser(r userRef, conv uint64) {
	if x.users == nil {
		x.users = map[userRef][]uint64{}
	}
	x.users[r] = append(x.users[r], conv)
}

func (x *index) reset() {
	clear(x.messages)
	clear(x.users)
}

// conversations scans an index whose keys end with a conversation's number, adds the dirty ones and
// returns the numbers in order, each once.
func (p *Partition) conversations(prefix []byte, dirty ...[]uint64) ([]uint64, error) {
	var nums []uint64
	err := p.back.Scan(prefix, func(key, _ []byte) error {
		n, k := binary.Uvarint(key[len(prefix):])
		if k <= 0 {
			return errCorrupt
		}
		nums = append(nums, n)
		return nil
	})
	for _, f := range dirty {
		nums = append(nums, f...)
	}
	slices.Sort(nums)
	return slices.Compact(nums), err
}

// find returns the message with the id, wherever in the app it was sent; of several that of the oldest conversation.
func (p *Partition) find(appKey, id string) (*message, error) {
	a := p.apps[appKey]
	if a == nil {
		return nil, ErrNotFound
	}
	ref := idRef{a.num, id}
	nums, err := p.conversations(messagePrefix(p.key(), a.num, id), p.dirty.messages[ref], p.captured.messages[ref])
	if err != nil {
		return nil, err
	}
	if len(nums) == 0 {
		return nil, ErrNotFound
	}
	return p.messageByRef(nums[0], id)
}

// ask runs a query with the partition locked, and keeps the cache in its bounds.
func ask[T any](p *Partition, f func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := f()
	p.settle()
	return v, err
}

// Settings returns the settings in force and their revision; ok is false for an app that was never configured. It does not wait for
// the entry that is being applied.
func (p *Partition) Settings(appKey string) (s events.Settings, revision uint64, ok bool) {
	v, ok := p.configured.Load(appKey)
	if !ok {
		return s, 0, false
	}
	c := v.(*configuration)
	return c.settings, c.revision, true
}

// Apps returns the keys and revisions of all apps.
func (p *Partition) Apps() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := make(map[string]uint64, len(p.apps))
	for k, a := range p.apps {
		m[k] = a.revision
	}
	return m
}

// Message returns the message with the id. An id used in several conversations of the partition finds the
// message of the oldest one. The error is ErrNotFound if there is none.
func (p *Partition) Message(appKey, id string) (Message, error) {
	return ask(p, func() (Message, error) {
		m, err := p.find(appKey, id)
		if err != nil {
			return Message{}, err
		}
		return m.view(), nil
	})
}

func (m *message) view() Message {
	c := m.conv
	v := Message{
		ID: m.id, From: c.members[m.sender].user, Group: c.name.group, SentAt: m.sentAt,
		ReceiptRequested: c.group() && m.state() != msgPlain,
		Recalled:         m.recalled(),
		Counts:           m.tally(),
		FirstReadAt:      m.firstAt(),
		LastReadAt:       m.lastAt,
	}
	if !c.group() {
		v.To = c.members[1-m.sender].user
	}
	return v
}

func (m *message) tally() Counts {
	return Counts{Eligible: int(m.eligible), Delivered: m.delivered(), Read: int(m.readers)}
}

// Counts returns the numbers of those of the messages that there are.
func (p *Partition) Counts(appKey string, ids []string) (map[string]Counts, error) {
	return ask(p, func() (map[string]Counts, error) {
		out := make(map[string]Counts, len(ids))
		for _, id := range ids {
			m, err := p.find(appKey, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out[id] = m.tally()
		}
		return out, nil
	})
}

// Readers returns the readers of a message from offset on, in the order of reading.
func (p *Partition) Readers(appKey, id string, offset, limit int) (ReaderPage, error) {
	return ask(p, func() (ReaderPage, error) {
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

// NonReaders returns the eligible readers who have not read, in the order they became members, from those with
// an ordinal of at least after.
func (p *Partition) NonReaders(appKey, id string, after, limit int) (NonReaderPage, error) {
	return ask(p, func() (NonReaderPage, error) {
		m, err := p.find(appKey, id)
		if err != nil {
			return NonReaderPage{}, err
		}
		page := NonReaderPage{Total: int(m.eligible) - int(m.readers), Users: []string{}}
		if m.kind != msgTracked {
			return page, nil
		}
		for o := max(after, 0); o < len(m.conv.members) && len(page.Users) < page.Total; o++ {
			u := &m.conv.members[o]
			if uint32(o) == m.sender || m.hasRead(uint32(o)) || m.conv.group() && !u.wasThere(m.seq) {
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

// IsMember reports whether the user is a member of the group now.
func (p *Partition) IsMember(appKey, group, user string) (bool, error) {
	return ask(p, func() (bool, error) {
		a := p.apps[appKey]
		if a == nil {
			return false, nil
		}
		c, err := p.conv(a, convName{group: group})
		if c == nil || err != nil {
			return false, err
		}
		o, ok := c.ordinal(user)
		return ok && !c.dissolved && c.members[o].active(), nil
	})
}

// Group returns a group and its members. The error is ErrNotFound for a group that is unknown or dissolved.
func (p *Partition) Group(appKey, group string) (Group, error) {
	return ask(p, func() (Group, error) {
		a := p.apps[appKey]
		if a == nil {
			return Group{}, ErrNotFound
		}
		c, err := p.conv(a, convName{group: group})
		if err != nil {
			return Group{}, err
		}
		if c == nil || c.dissolved {
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

// Conversations returns the user's conversations of this partition, groups by id before single chats by peer.
func (p *Partition) Conversations(appKey, user string) ([]ConversationView, error) {
	return ask(p, func() ([]ConversationView, error) {
		a := p.apps[appKey]
		if a == nil {
			return nil, nil
		}
		ref := userRef{a.num, user}
		nums, err := p.conversations(userIndexPrefix(p.key(), a.num, user), p.dirty.users[ref], p.captured.users[ref])
		if err != nil {
			return nil, err
		}
		var out []ConversationView
		for _, num := range nums {
			c, err := p.loadConv(num)
			if err != nil {
				return nil, err
			}
			o, ok := c.ordinal(user)
			if !ok {
				return nil, errCorrupt
			}
			u := &c.members[o]
			if c.dissolved || !u.active() {
				continue
			}
			v := ConversationView{Group: c.name.group, Unread: int(c.sent - u.base), LastReadAt: u.lastReadAt}
			if !c.group() {
				v.Peer = c.members[1-o].user
			}
			out = append(out, v)
		}
		SortConversations(out)
		return out, nil
	})
}

// SortConversations puts groups by id before single chats by peer.
func SortConversations(list []ConversationView) {
	slices.SortFunc(list, func(x, y ConversationView) int {
		if c := cmp.Compare(boolInt(x.Group == ""), boolInt(y.Group == "")); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Peer, y.Peer))
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Summary returns the author's pending summary in the order the items became pending, and the entry up to
// which it is complete: what statistic.seen names once he has seen it.
func (p *Partition) Summary(appKey, user string) (items []SummaryItem, upto uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.settle()
	a := p.apps[appKey]
	if a == nil {
		return nil, p.seq, nil
	}
	u, err := p.author(a, user)
	if err != nil {
		return nil, 0, err
	}
	pending, err := p.summaryItems(u)
	if err != nil {
		return nil, 0, err
	}
	for _, x := range pending {
		c, m, err := p.summarized(x.value)
		if err != nil {
			return nil, 0, err
		}
		if m == nil {
			items = append(items, c.item(user))
		} else {
			items = append(items, m.item())
		}
	}
	return items, p.seq, nil
}

// Rejections returns the latest rejections of the app, newest first.
func (p *Partition) Rejections(appKey string, limit int) []Rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[appKey]
	if a == nil {
		return nil
	}
	r := &a.rejected
	var out []Rejection
	for n := r.next; n > 0 && len(out) < min(limit, len(r.slots)); n-- {
		out = append(out, r.slots[(n-1)%uint64(p.limits.Rejections)])
	}
	return out
}

// Poison returns how many entries could not be decoded, and the latest of them, oldest first.
func (p *Partition) Poison() (total uint64, latest []PoisonEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.poison.total, slices.Clone(p.poison.kept)
}

// Stats are figures of a partition for metrics. Outcomes count since the partition was opened.
type Stats struct {
	Sequence   uint64
	Clock      int64 // Unix milliseconds
	CacheBytes int
	Changed    int // messages changed since the last capture
	Parked     int
	Poison     uint64
	Outcomes   map[events.Outcome]uint64
}

// Stats returns the partition's figures.
func (p *Partition) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Sequence: p.seq, Clock: p.clock, CacheBytes: p.cacheBytes, Changed: len(p.dirtyMessages),
		Poison: p.poison.total, Outcomes: map[events.Outcome]uint64{},
	}
	for _, a := range p.appsByNum {
		s.Parked += a.parked.count
	}
	for o, n := range p.counts {
		if n != 0 {
			s.Outcomes[events.Outcome(o)] = n
		}
	}
	return s
}
