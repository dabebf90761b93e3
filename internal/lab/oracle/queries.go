package oracle

import (
	"cmp"
	"maps"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Member is a current member of a group.
type Member struct {
	User       string
	Role       events.Role
	Unread     int
	LastReadAt int64 // Unix milliseconds, 0 = never
}

// Sequence is the sequence of the last entry, 0 before the first.
func (m *Model) Sequence() uint64 { return m.sequence }

// Clock is the largest broker time seen, in Unix milliseconds.
func (m *Model) Clock() int64 { return m.time.t }

// Poisoned are the entries that could not be decoded, in log order.
func (m *Model) Poisoned() []Poisoned { return slices.Clone(m.poisoned) }

// Apps are the keys of the configured apps, sorted.
func (m *Model) Apps() []string { return slices.Sorted(maps.Keys(m.apps)) }

// Settings are the settings in force and their revision; false if the app has none.
func (m *Model) Settings(app string) (events.Settings, uint64, bool) {
	a := m.apps[app]
	if a == nil {
		return events.Settings{}, 0, false
	}
	return a.settings, a.revision, true
}

// AllConversations are the groups ever created and the single chats with a message: groups first,
// by id, then single chats, by their users.
func (m *Model) AllConversations(app string) []events.Conversation {
	var names []events.Conversation
	for _, c := range m.conversations(app) {
		names = append(names, c.name)
	}
	return names
}

// conversations are the app's, in the order of AllConversations.
func (m *Model) conversations(app string) []*conversation {
	a := m.apps[app]
	if a == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(a.conversations), func(x, y *conversation) int {
		if xGroup, yGroup := x.name.Group != "", y.name.Group != ""; xGroup != yGroup {
			if xGroup {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.name.Group, y.name.Group), cmp.Compare(x.name.A, y.name.A), cmp.Compare(x.name.B, y.name.B))
	})
}

// Users are all who are or were in a conversation, sorted.
func (m *Model) Users(app string) []string {
	seen := map[string]bool{}
	for _, c := range m.conversations(app) {
		for _, u := range c.members {
			seen[u.user] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// authors are the users whose summary has items, sorted.
func (m *Model) authors(app string) []string {
	var authors []string
	if a := m.apps[app]; a != nil {
		for author, s := range a.summaries {
			if len(s.items) > 0 {
				authors = append(authors, author)
			}
		}
	}
	slices.Sort(authors)
	return authors
}

// Group says who created a group and whether it is dissolved; false if it is unknown.
func (m *Model) Group(app, group string) (creator string, dissolved, ok bool) {
	c := m.conversation(events.Conversation{App: app, Group: group})
	if c == nil {
		return "", false, false
	}
	return c.created.User, c.dissolved, true
}

// Members are the current members of a group, dissolved or not, in the order in which they first
// joined.
func (m *Model) Members(app, group string) []Member {
	c := m.conversation(events.Conversation{App: app, Group: group})
	if c == nil {
		return nil
	}
	var members []Member
	for _, u := range c.members {
		if u.current() {
			members = append(members, Member{User: u.user, Role: u.role, Unread: len(c.unreadOf(u)), LastReadAt: u.lastReadAt})
		}
	}
	return members
}

// Standing is what a user is to a message that the model knows.
func (m *Model) Standing(c events.Conversation, id, user string) projections.Standing {
	msg := m.message(c, id)
	u := msg.conversation.member(user)
	switch {
	case msg.from == user:
		return projections.Sender
	case u == nil || !u.current() || msg.conversation.dissolved:
		return projections.Stranger
	case !u.there(msg.seq):
		return projections.LateMember
	}
	return projections.Recipient
}

// there reports whether the message with a seq was sent during a stay.
func (u *member) there(seq int) bool {
	return slices.ContainsFunc(u.spans, func(s span) bool { return s.joined < seq && (!s.ended || seq <= s.left) })
}

// WasIn reports whether a user is or ever was in a conversation.
func (m *Model) WasIn(c events.Conversation, user string) bool {
	x := m.conversation(c)
	return x != nil && x.member(user) != nil
}

// Conversations is a user's conversation list: groups by id, then single chats by peer.
func (m *Model) Conversations(app, user string) []projections.ConversationView {
	var list []projections.ConversationView
	for _, c := range m.conversations(app) {
		u := c.member(user)
		if u == nil || !u.current() || c.dissolved {
			continue
		}
		list = append(list, projections.ConversationView{
			Group: c.name.Group, Peer: c.peerOf(user), Unread: len(c.unreadOf(u)), LastReadAt: u.lastReadAt, Marked: u.marked,
		})
	}
	sortConversations(list)
	return list
}

func sortConversations(list []projections.ConversationView) {
	slices.SortFunc(list, func(x, y projections.ConversationView) int {
		if (x.Group != "") != (y.Group != "") {
			return cmp.Compare(x.Peer, y.Peer) // the group, without a peer, comes first
		}
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Peer, y.Peer))
	})
}

// Rejections are the latest rejections of the app, newest first.
func (m *Model) Rejections(app string) []projections.Rejection {
	a := m.apps[app]
	if a == nil {
		return nil
	}
	list := slices.Clone(a.rejections)
	slices.Reverse(list)
	return list
}

// ParkedCount is the number of receipts of the app that wait for their message.
func (m *Model) ParkedCount(app string) int {
	if a := m.apps[app]; a != nil {
		return len(a.parked)
	}
	return 0
}

func (m *Model) conversation(name events.Conversation) *conversation {
	a := m.apps[name.App]
	if a == nil {
		return nil
	}
	return a.conversations[name]
}

// peerOf is the other side of a single chat, empty in a group.
func (c *conversation) peerOf(user string) string {
	if c.name.A == user {
		return c.name.B
	}
	return c.name.A
}

// Positions are the shown positions of a group's current members, in the order in which they first
// joined.
func (m *Model) Positions(app, group string) (list []projections.MemberPosition) {
	c := m.conversation(events.Conversation{App: app, Group: group})
	for _, u := range c.members {
		if !u.current() {
			continue
		}
		p := projections.MemberPosition{User: u.user}
		if hides, _ := m.apps[app].hides(c, u.user); !hides {
			p.Watermark, p.LastReadAt = uint64(u.shownWatermark), u.shownLastReadAt
		}
		list = append(list, p)
	}
	return list
}
