package router

import (
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// The questions of [projector.Projector], which says what each is for.

func (r *Router) of(c *events.Conversation) int { return c.Partition(len(r.seen)) }

func (r *Router) ofUser(app, group, peer, user string) int {
	return events.Partition(&events.Event{App: app, Group: group, User: user, Peer: peer}, len(r.seen))
}

// Message returns the only message with an id; see [projector.Projector.Message].
func (r *Router) Message(app, id string) (projections.Message, error) {
	m, err := projector.OnlyMessage(id, inAll(r, &message, &args{App: app, ID: id}))
	return m, projector.NameHolders(r, app, err)
}

// Holders returns conversations that have a message with an id; see [projector.Projector.Holders].
func (r *Router) Holders(app, id, user string, limit int) ([]events.Conversation, error) {
	return projector.JoinHolders(limit, inAll(r, &holders, &args{App: app, ID: id, User: user, Limit: limit}))
}

// MessageIn returns the message of a conversation, and what a user is to it.
func (r *Router) MessageIn(c events.Conversation, id, user string) (projections.Found, error) {
	return in(r, r.of(&c), &messageIn, &args{In: c, ID: id, User: user})
}

// Readers returns a page of a message's readers.
func (r *Router) Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error) {
	return in(r, r.of(&c), &readers, &args{In: c, ID: id, Offset: offset, Limit: limit})
}

// NonReaders returns a page of those who have not read a message.
func (r *Router) NonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error) {
	return in(r, r.of(&c), &nonReaders, &args{In: c, ID: id, Offset: after, Limit: limit})
}

// Remaining returns a message without those who have left the group.
func (r *Router) Remaining(c events.Conversation, id string) (projections.Message, error) {
	return in(r, r.of(&c), &remaining, &args{In: c, ID: id})
}

// RemainingReaders is Readers without those who have left the group.
func (r *Router) RemainingReaders(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error) {
	return in(r, r.of(&c), &remainingReaders, &args{In: c, ID: id, Offset: offset, Limit: limit})
}

// RemainingNonReaders is NonReaders without those who have left the group.
func (r *Router) RemainingNonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error) {
	return in(r, r.of(&c), &remainingNonReaders, &args{In: c, ID: id, Offset: after, Limit: limit})
}

// Counts returns the numbers of those of the messages that are known; see
// [projector.Projector.Counts].
func (r *Router) Counts(app string, ids []string) (map[string]projections.Counts, error) {
	all, err := projector.JoinCounts(inAll(r, &counts, &args{App: app, IDs: ids}))
	return all, projector.NameHolders(r, app, err)
}

// Rejections returns the latest rejections of an app, newest first.
func (r *Router) Rejections(app string, limit int) ([]projections.Rejection, error) {
	return projector.JoinRejections(limit, inAll(r, &rejections, &args{App: app, Limit: limit}))
}

// IsMember reports whether the user is a member of the group now.
func (r *Router) IsMember(app, name, user string) (bool, error) {
	return in(r, r.ofUser(app, name, "", ""), &isMember, &args{App: app, Group: name, User: user})
}

// WasMember reports whether the user is, or ever was, a member of the group.
func (r *Router) WasMember(app, name, user string) (bool, error) {
	return in(r, r.ofUser(app, name, "", ""), &wasMember, &args{App: app, Group: name, User: user})
}

// Members returns a page of a group's members.
func (r *Router) Members(app, name string, after, limit int) (projections.MemberPage, error) {
	return in(r, r.ofUser(app, name, "", ""), &members, &args{App: app, Group: name, Offset: after, Limit: limit})
}

// Group returns a group and its members.
func (r *Router) Group(app, name string) (projections.Group, error) {
	return in(r, r.ofUser(app, name, "", ""), &group, &args{App: app, Group: name})
}

// UnreadMessages returns a page of what is unread to a user in a conversation.
func (r *Router) UnreadMessages(app, name, peer, user string, after uint64, limit int) (projections.UnreadPage, error) {
	return in(r, r.ofUser(app, name, peer, user), &unreadMessages, &args{App: app, Group: name, Peer: peer, User: user, Before: after, Limit: limit})
}

// GroupMessages returns a page of a group's messages, newest first.
func (r *Router) GroupMessages(app, name string, before uint64, limit int) (projections.MessagePage, error) {
	return in(r, r.ofUser(app, name, "", ""), &groupMessages, &args{App: app, Group: name, Before: before, Limit: limit})
}

// Reads returns a page of what a user has read in a conversation.
func (r *Router) Reads(app, name, peer, user string, before uint64, limit int) (projections.ReadPage, error) {
	return in(r, r.ofUser(app, name, peer, user), &reads, &args{App: app, Group: name, Peer: peer, User: user, Before: before, Limit: limit})
}

// UserMessages returns a page of what a user has sent, read or not read in a conversation.
func (r *Router) UserMessages(app, name, peer, user string, q projections.RelatedQuery) (projections.UserMessagePage, error) {
	return in(r, r.ofUser(app, name, peer, user), &userMessages,
		&args{App: app, Group: name, Peer: peer, User: user, To: q.To, Before: q.Before, Limit: q.Limit})
}

// Positions returns a page of how far a group's members have read.
func (r *Router) Positions(app, name string, after, limit int) (projections.PositionPage, error) {
	return in(r, r.ofUser(app, name, "", ""), &positions, &args{App: app, Group: name, Offset: after, Limit: limit})
}

// SeesNobody reports whether a user is shown nobody's reads in a conversation.
func (r *Router) SeesNobody(app, name, peer, user string) (bool, error) {
	return in(r, r.ofUser(app, name, peer, user), &seesNobody, &args{App: app, Group: name, Peer: peer, User: user})
}

// UserSettingsIn returns what a user has set for one conversation.
func (r *Router) UserSettingsIn(app, name, peer, user string) (projections.UserSettings, error) {
	return in(r, r.ofUser(app, name, peer, user), &userSettingsIn, &args{App: app, Group: name, Peer: peer, User: user})
}

// UserSettings returns what a user has set for all of their conversations, as each partition has
// it.
func (r *Router) UserSettings(app, user string) ([]projections.UserSettings, error) {
	return projector.Collect(inAll(r, &userSettings, &args{App: app, User: user}))
}

// Knows reports whether a user is, or ever was, in a conversation.
func (r *Router) Knows(app, user string) (bool, error) {
	return projector.Any(inAll(r, &knows, &args{App: app, User: user}))
}

// Conversations returns a user's conversations.
func (r *Router) Conversations(app, user string) ([]projections.ConversationView, error) {
	return projector.JoinConversations(inAll(r, &conversations, &args{App: app, User: user}))
}
