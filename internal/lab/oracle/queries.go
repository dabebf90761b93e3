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

// Partition is the index the model was made with.
func (m *Model) Partition() int { return m.partition }

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

// Authors are the users whose summary has items, sorted.
func (m *Model) Authors(app string) []string {
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

// AllMessages are all messages of the app, recalled ones too: by conversation in the order of
// AllConversations, then in the order they were sent.
func (m *Model) AllMessages(app string) []projections.Message {
	var all []projections.Message
	for _, c := range m.conversations(app) {
		for _, msg := range c.messages {
			all = append(all, msg.view())
		}
	}
	return all
}

// Messages are the messages with the id, at most one from each conversation, in the order of
// AllConversations.
func (m *Model) Messages(app, id string) []projections.Message {
	var found []projections.Message
	for _, c := range m.conversations(app) {
		if msg := c.byID[id]; msg != nil {
			found = append(found, msg.view())
		}
	}
	return found
}

// Message is the message of a conversation; false if it is unknown.
func (m *Model) Message(c events.Conversation, id string) (projections.Message, bool) {
	msg := m.message(c, id)
	if msg == nil {
		return projections.Message{}, false
	}
	return msg.view(), true
}

// Counts are the numbers of a message; false if it is unknown.
func (m *Model) Counts(c events.Conversation, id string) (projections.Counts, bool) {
	msg, ok := m.Message(c, id)
	return msg.Counts, ok
}

// Readers is the read set of a message, in the order of reading; it is empty if names are not kept.
func (m *Model) Readers(c events.Conversation, id string) []projections.Reader {
	msg := m.message(c, id)
	if msg == nil || msg.kind == counted {
		return nil
	}
	return msg.inOrder()
}

// inOrder are the readers in the order of reading.
func (msg *message) inOrder() []projections.Reader {
	list := slices.Clone(msg.readers)
	slices.SortStableFunc(list, func(x, y projections.Reader) int { return cmp.Compare(x.ReadAt, y.ReadAt) })
	return list
}

// Remaining is a message of the conversation without those who have left the group since.
func (m *Model) Remaining(c events.Conversation, id string) projections.Message {
	msg := m.message(c, id)
	rest := *msg
	rest.eligible, rest.readers = nil, nil
	for _, user := range msg.eligible {
		if msg.conversation.member(user).current() {
			rest.eligible = append(rest.eligible, user)
		}
	}
	for _, r := range msg.readers {
		if msg.conversation.member(r.User).current() {
			rest.readers = append(rest.readers, r)
		}
	}
	v := rest.view()
	if msg.kind == counted && len(rest.readers) < len(msg.readers) {
		v.FirstReadAt, v.LastReadAt = 0, 0
	}
	return v
}

// NonReaders are the eligible readers of a message who have not read it, in the order they became
// members; empty if names are not kept.
func (m *Model) NonReaders(c events.Conversation, id string) []string {
	msg := m.message(c, id)
	if msg == nil || msg.kind == counted {
		return nil
	}
	var users []string
	for _, user := range msg.eligible {
		if !msg.readBy(user) {
			users = append(users, user)
		}
	}
	return users
}

// LeftNonReaders are those of the nonreaders who are no members any more.
func (m *Model) LeftNonReaders(c events.Conversation, id string) []string {
	var users []string
	for _, user := range m.NonReaders(c, id) {
		if !m.conversation(c).member(user).current() {
			users = append(users, user)
		}
	}
	return users
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

// Summary is the author's summary, in the order of the latest news, for who names no device.
func (m *Model) Summary(app, author string) []projections.SummaryItem {
	return m.SummaryFor(app, author, "")
}

// SummaryFor is the summary that a device of the author is told.
func (m *Model) SummaryFor(app, author, device string) []projections.SummaryItem {
	a := m.apps[app]
	if a == nil {
		return nil
	}
	var items []projections.SummaryItem
	s := a.summaryOf(author)
	list := slices.Clone(s.items)
	list = slices.DeleteFunc(list, func(x *item) bool { return x.lastEntry <= s.witness(device).seen })
	slices.SortStableFunc(list, func(x, y *item) int { return cmp.Compare(x.lastEntry, y.lastEntry) })
	for _, x := range list {
		if x.hiddenFrom(a, author) {
			continue
		}
		switch {
		case x.message == nil:
			items = append(items, x.chat.item(author))
		case x.message.conversation.name.Group == "":
			items = append(items, x.message.singleItem(a.seesNobody(x.message.conversation, author)))
		default:
			items = append(items, x.message.groupItem())
		}
	}
	return items
}

// hiddenFrom reports whether an item is not shown to its author, who hides their own reads.
func (x *item) hiddenFrom(a *app, author string) bool {
	c := x.chat
	if x.message != nil {
		c = x.message.conversation
	}
	return a.seesNobody(c, author) && (x.message == nil || x.message.deliveredAt == 0)
}

// seesNobody reports whether a user is shown nobody's reads in a conversation.
func (a *app) seesNobody(c *conversation, user string) bool {
	reads, _ := a.hides(c, user)
	return a.settings.Reciprocal && reads
}

// Dropped is how many items of the author's summary were pushed out and not acknowledged.
func (m *Model) Dropped(app, author string) int {
	if a := m.apps[app]; a != nil {
		return a.summaryOf(author).author.dropped
	}
	return 0
}

// DroppedFor is how many items were pushed out that a device of the author had not acknowledged.
func (m *Model) DroppedFor(app, author, device string) int {
	if a := m.apps[app]; a != nil {
		return a.summaryOf(author).witness(device).dropped
	}
	return 0
}

// Knows reports whether a device of the author is known.
func (m *Model) Knows(app, author, device string) bool {
	a := m.apps[app]
	return a != nil && a.summaryOf(author).device(device) != nil
}

// witness is the device if it is known, else the author.
func (s *summary) witness(device string) *witness {
	if d := s.device(device); d != nil {
		return d
	}
	return &s.author
}

func (c *conversation) item(author string) projections.SummaryItem {
	peer := c.peerOf(author)
	return projections.SummaryItem{
		Kind: projections.SummaryConversationRead, Peer: peer, LastReadAt: c.member(peer).shownLastReadAt,
	}
}

func (msg *message) singleItem(deliveryOnly bool) projections.SummaryItem {
	item := projections.SummaryItem{
		Kind: projections.SummaryDelivered, Message: msg.id, Peer: msg.conversation.peerOf(msg.from), DeliveredAt: msg.deliveredAt,
	}
	if len(msg.readers) > 0 && !deliveryOnly {
		item.Kind, item.LastReadAt = projections.SummaryRead, msg.readers[0].ReadAt
	}
	return item
}

func (msg *message) groupItem() projections.SummaryItem {
	readers := msg.inOrder()
	first, last := readers[0], readers[len(readers)-1]
	if msg.kind == counted {
		last.User = ""
	}
	return projections.SummaryItem{
		Kind: projections.SummaryGroupRead, Message: msg.id, Group: msg.conversation.name.Group,
		Count: len(readers), LastReader: last.User, FirstReadAt: first.ReadAt, LastReadAt: last.ReadAt,
	}
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

// ConversationOf names the conversation of a message of the app.
func ConversationOf(app string, msg projections.Message) events.Conversation {
	return conversationOf(events.Event{App: app, Group: msg.Group, User: msg.From, Peer: msg.To})
}

func (m *Model) conversation(name events.Conversation) *conversation {
	a := m.apps[name.App]
	if a == nil {
		return nil
	}
	return a.conversations[name]
}

func (m *Model) message(name events.Conversation, id string) *message {
	c := m.conversation(name)
	if c == nil {
		return nil
	}
	return c.byID[id]
}

// peerOf is the other side of a single chat, empty in a group.
func (c *conversation) peerOf(user string) string {
	if c.name.A == user {
		return c.name.B
	}
	return c.name.A
}

// view is a message as shown.
func (msg *message) view() projections.Message {
	v := projections.Message{
		ID: msg.id, From: msg.from, Group: msg.conversation.name.Group, To: msg.conversation.peerOf(msg.from),
		SentAt: msg.sentAt, ReceiptRequested: msg.asked, CountsOnly: msg.kind == counted, Recalled: msg.recalled,
		Tracked: msg.kind == tracked, Label: msg.label, DeliveredAt: msg.deliveredAt,
	}
	v.Eligible, v.Read = len(msg.eligible), len(msg.readers)
	switch {
	case v.Group != "":
		v.Delivered = v.Read
	case msg.delivered:
		v.Delivered = 1
	}
	if readers := msg.inOrder(); len(readers) > 0 {
		v.FirstReadAt, v.LastReadAt = readers[0].ReadAt, readers[len(readers)-1].ReadAt
	}
	return v
}

// SeesNobody reports whether a user is shown nobody's reads in a conversation.
func (m *Model) SeesNobody(name events.Conversation, user string) bool {
	c := m.conversation(name)
	return c != nil && c.member(user) != nil && m.apps[name.App].seesNobody(c, user)
}

// UnreadMessages are the messages of a conversation that are unread to a current member, oldest
// first.
func (m *Model) UnreadMessages(name events.Conversation, user string) (list []projections.UnreadMessage) {
	c := m.conversation(name)
	for _, msg := range c.unreadOf(c.member(user)) {
		list = append(list, projections.UnreadMessage{ID: msg.id, From: msg.from})
	}
	return list
}

// GroupMessages are the messages of a group that are not recalled, newest first.
func (m *Model) GroupMessages(app, group string) (list []projections.Message) {
	for _, msg := range slices.Backward(m.conversation(events.Conversation{App: app, Group: group}).messages) {
		if !msg.recalled {
			list = append(list, msg.view())
		}
	}
	return list
}

// Reads are the messages of a conversation that a current member has read one by one, and shows
// that they have, newest first, of those whose readers have names; of a single chat only those that
// no conversation read has covered.
func (m *Model) Reads(name events.Conversation, user string) (list []projections.Read) {
	c := m.conversation(name)
	for _, msg := range slices.Backward(c.messages) {
		if name.Group == "" && msg.seq <= c.member(user).watermark || msg.kind == counted {
			continue
		}
		for _, r := range msg.readers {
			if r.User == user {
				list = append(list, projections.Read{ID: msg.id, From: msg.from, SentAt: msg.sentAt, ReadAt: r.ReadAt, Content: r.Content})
			}
		}
	}
	return list
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
