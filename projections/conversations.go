package projections

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// userConv is a conversation that a user is or was in.
type userConv struct {
	conv uint64
	// ordinal is the user's in a group; -1 if it is not known here: in a single chat, which knows
	// its sides, or if an older version wrote the index.
	ordinal int
}

// encodeOrdinal is the value of an index key of a user: their ordinal in a group, nothing in a
// single chat.
func (c *conversation) encodeOrdinal(dst []byte, o uint32) []byte {
	if !c.group() {
		return dst
	}
	return binary.AppendUvarint(dst, uint64(o))
}

// conversationsOf returns the conversations that a user is or was in, by their numbers. It is
// called without the lock.
func (p *Partition) conversationsOf(a *app, user string) ([]userConv, error) {
	var list []userConv
	// As in holders, what is not in the backing comes first. Those are in memory.
	p.mu.Lock()
	r, x := userRef{a.num, user}, &p.changes.indexes
	for _, nums := range [][]uint64{x.added.users[r], x.captured.users[r]} {
		for _, num := range nums {
			list = append(list, userConv{num, -1})
		}
	}
	p.mu.Unlock()
	err := p.eachIndexed(userIndexPrefix(nil, a.num, user), func(num uint64, value []byte) error {
		x := userConv{num, -1}
		if len(value) > 0 {
			o, n := binary.Uvarint(value)
			if n != len(value) || o >= events.MaxEverMembers {
				return errCorrupt
			}
			x.ordinal = int(o)
		}
		list = append(list, x)
		return nil
	})
	slices.SortFunc(list, func(x, y userConv) int { return cmp.Compare(x.conv, y.conv) })
	return slices.CompactFunc(list, func(x, y userConv) bool { return x.conv == y.conv }), err
}

// Knows reports whether the user is, or ever was, in a conversation of this partition.
func (p *Partition) Knows(appKey, user string) (known bool, err error) {
	a := p.app(appKey)
	if a == nil {
		return false, nil
	}
	p.mu.Lock()
	r, x := userRef{a.num, user}, &p.changes.indexes
	known = len(x.added.users[r])+len(x.captured.users[r]) > 0
	p.mu.Unlock()
	if known {
		return true, nil
	}
	err = p.eachIndexed(userIndexPrefix(nil, a.num, user), func(uint64, []byte) error {
		known = true
		return errStep
	})
	return known, err
}

// Conversations returns the user's conversations of this partition, groups by id before single
// chats by peer, each as it is at some moment while this is called. However many there are, the
// fold is held up for a few lookups at a time, and the members of a group are not loaded.
func (p *Partition) Conversations(appKey, user string) ([]ConversationView, error) {
	a := p.app(appKey)
	if a == nil {
		return nil, nil
	}
	of, err := p.conversationsOf(a, user)
	if err != nil {
		return nil, err
	}
	var out []ConversationView
	err = steps(p, lookupStep, of, func(x userConv) error {
		v, is, err := p.conversationView(x, user)
		if is {
			out = append(out, v)
		}
		return err
	})
	SortConversations(out)
	return out, err
}

// conversationView is a conversation as it stands in a user's list; false if it is not in it.
func (p *Partition) conversationView(x userConv, user string) (ConversationView, bool, error) {
	c := p.cache.conversationByNum[x.conv]
	if c == nil {
		v, err := p.back.Get(convKey(p.scratch.key(), x.conv))
		if err != nil {
			return ConversationView{}, false, err
		}
		c = &conversation{}
		if _, _, err := c.decodeHeader(v); err != nil {
			return ConversationView{}, false, err
		}
		switch {
		case c.dissolved:
			return ConversationView{}, false, nil
		case c.group() && x.ordinal >= 0:
			return p.storedView(c, x, user)
		case c.group():
			if c, err = p.convByNum(x.conv); err != nil {
				return ConversationView{}, false, err
			}
		}
	}
	o, ok := c.ordinal(user)
	if !ok {
		return ConversationView{}, false, errCorrupt
	}
	if c.dissolved || !c.members[o].active() {
		return ConversationView{}, false, nil
	}
	return c.view(&c.members[o]), true, nil
}

// storedView is the view of a group of which only the header is loaded.
func (p *Partition) storedView(c *conversation, x userConv, user string) (ConversationView, bool, error) {
	v, err := p.back.Get(memberKey(p.scratch.key(), x.conv, uint32(x.ordinal)))
	if err != nil {
		return ConversationView{}, false, err
	}
	var m member
	if err := m.decode(v); err != nil {
		return ConversationView{}, false, err
	}
	if m.user != user {
		return ConversationView{}, false, errCorrupt
	}
	return c.view(&m), m.active(), nil
}

// view is the conversation as it stands in a member's list.
func (c *conversation) view(u *member) ConversationView {
	v := ConversationView{Group: c.name.group, Unread: int(c.unreadBy(u)), LastReadAt: u.lastReadAt, Marked: u.marked()}
	if !c.group() {
		v.Peer = c.name.peerOf(u.user)
	}
	return v
}

// SortConversations puts groups by id before single chats by peer.
func SortConversations(list []ConversationView) {
	slices.SortFunc(list, func(x, y ConversationView) int { return x.Compare(&y) })
}

// Compare orders the lines of a conversation list: groups by id before single chats by peer.
func (v *ConversationView) Compare(w *ConversationView) int {
	if single := v.Group == ""; single != (w.Group == "") {
		if single {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(v.Group, w.Group), cmp.Compare(v.Peer, w.Peer))
}
