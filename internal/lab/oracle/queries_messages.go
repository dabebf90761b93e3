package oracle

import (
	"cmp"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

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

// LeftNonReaders are the nonreaders who are no members any more.
func (m *Model) LeftNonReaders(c events.Conversation, id string) []string {
	var users []string
	for _, user := range m.NonReaders(c, id) {
		if !m.conversation(c).member(user).current() {
			users = append(users, user)
		}
	}
	return users
}

// ConversationOf names the conversation of a message of the app.
func ConversationOf(app string, msg projections.Message) events.Conversation {
	return conversationOf(events.Event{App: app, Group: msg.Group, User: msg.From, Peer: msg.To})
}

func (m *Model) message(name events.Conversation, id string) *message {
	c := m.conversation(name)
	if c == nil {
		return nil
	}
	return c.byID[id]
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

// NotRead are the ids of what a user could read in a conversation that they are in, and has not,
// or hides that they have, newest first.
func (m *Model) NotRead(name events.Conversation, user string) (list []string) {
	c := m.conversation(name)
	for _, msg := range slices.Backward(c.messages) {
		if name.Group == "" && msg.seq <= c.member(user).watermark || msg.recalled {
			continue
		}
		if slices.Contains(m.NonReaders(name, msg.id), user) {
			list = append(list, msg.id)
		}
	}
	return list
}

// Sent are the ids of what a user has sent in a conversation, newest first; in a single chat
// without what a conversation read has covered.
func (m *Model) Sent(name events.Conversation, user string) (list []string) {
	c := m.conversation(name)
	peer := name.A
	if peer == user {
		peer = name.B
	}
	for _, msg := range slices.Backward(c.messages) {
		if msg.from == user && !msg.recalled && (name.Group != "" || msg.seq > c.member(peer).watermark) {
			list = append(list, msg.id)
		}
	}
	return list
}
