package projections

import (
	"errors"

	"github.com/receiptd/receiptd/events"
)

// ErrNotFound is returned by queries for an app, message, group or user that the state does not
// know.
var ErrNotFound = errors.New("projections: not found")

// ErrNoNames is returned by queries for the readers of a message of which receipts are
// counted only.
var ErrNoNames = errors.New("projections: names of readers are not kept")

// Message is what the state knows about one message. Times are Unix milliseconds, 0 = none.
type Message struct {
	ID   string
	From string
	// Group is set for a group message, To (the peer) for a single-chat message.
	Group, To        string
	SentAt           int64
	ReceiptRequested bool
	// CountsOnly says that receipts of the message are counted without names: of its readers and
	// those who have not read, only the numbers are known.
	CountsOnly bool
	// Tracked: it collects receipts, or did until it was recalled.
	Tracked bool
	// Label is what it is counted under; empty = nothing.
	Label    string
	Recalled bool
	Counts
	FirstReadAt, LastReadAt int64
	// DeliveredAt is when a single-chat message was delivered, if that was reported by itself.
	DeliveredAt int64
}

// WithoutReads is the message as if nobody had read it.
func (m Message) WithoutReads() Message {
	m.Read, m.Delivered, m.FirstReadAt, m.LastReadAt = 0, 0, 0, 0
	if m.DeliveredAt != 0 {
		m.Delivered = 1
	}
	return m
}

// Conversation names the conversation that the message of an app is in.
func (m *Message) Conversation(app string) events.Conversation {
	if m.Group != "" {
		return events.Conversation{App: app, Group: m.Group}
	}
	return events.SingleChat(app, m.From, m.To)
}

// Counts are the numbers of one message. Read is the size of its read set.
type Counts struct {
	Eligible, Delivered, Read int
}

// Reader is one member of a message's read set.
type Reader struct {
	User    string
	ReadAt  int64 // Unix milliseconds
	Content string
}

// ReaderPage is a page of readers in the order of reading. Before is how many come before it; Next
// is the offset of the next page, or 0 if this is the last one.
type ReaderPage struct {
	Total   int
	Before  int
	Readers []Reader
	Next    int
}

// NonReaderPage is a page of the eligible readers who have not read. Next is the value of after for
// the next page, or 0 if this is the last one.
type NonReaderPage struct {
	Total int
	Users []string
	// Left are the users who are no members any more.
	Left []string
	Next int
}

// MemberPage is a page of the current members of a group. Next is the value of after for the next
// page, or 0 if this is the last one.
type MemberPage struct {
	Total   int
	Members []GroupMember
	Next    int
}

// ConversationView is one line of a user's conversation list.
type ConversationView struct {
	// Exactly one of Group and Peer is set.
	Group, Peer string
	Unread      int
	LastReadAt  int64 // Unix milliseconds, 0 = never
	// Marked: the user has marked it as unread.
	Marked bool
}

// UnreadMessage is a message that is unread to a user.
type UnreadMessage struct{ ID, From string }

// UnreadPage is a page of the messages that are unread to a user, oldest first. Next is the value
// of after for the next page, or 0 if this is the last one.
type UnreadPage struct {
	// Unread is the user's unread count in the conversation.
	Unread   int
	Messages []UnreadMessage
	Next     uint64
}

// MessagePage is a page of messages, newest first. Next is the value of before for the next page,
// or 0 if this is the last one.
type MessagePage struct {
	Messages []Message
	Next     uint64
}

// Read is a message that a user has read.
type Read struct {
	ID, From string
	// SentAt and ReadAt are in Unix milliseconds.
	SentAt, ReadAt int64
	// Content is the user's own text that came with the receipt.
	Content string
}

// ReadPage is a page of what a user has read in a conversation, newest messages first. Next is the
// value of before for the next page, or 0 if this is the last one.
type ReadPage struct {
	Reads []Read
	// Looked is how many messages were looked at.
	Looked int
	Next   uint64
}

// MemberPosition is how far a member of a group has read, as others may be shown it.
type MemberPosition struct {
	User string
	// Watermark is the number of the last message that the member's reads of the conversation
	// cover; LastReadAt is when they read, in Unix milliseconds. Both are 0 for one who
	// hides reads.
	Watermark  uint64
	LastReadAt int64
}

// PositionPage is a page of the members of a group. Next is the value of after for the next page,
// or 0 if this is the last one.
type PositionPage struct {
	// Sent is the number of the group's last message.
	Sent    uint64
	Members []MemberPosition
	Next    int
}

// UserSettings are what a user has set about their receipts, for one conversation or for all.
// Revision is 0 if that is nothing.
type UserSettings struct {
	Reads, Deliveries events.Choice
	Revision          uint64
}

// SummaryKind says what an item of a summary tells.
type SummaryKind uint8

// The kinds of items.
const (
	// SummaryGroupRead is a group message that was read.
	SummaryGroupRead SummaryKind = iota
	// SummaryDelivered is a single-chat message that was delivered, and is not read yet.
	SummaryDelivered
	// SummaryRead is a single-chat message that was read.
	SummaryRead
	// SummaryConversationRead is a single chat that the peer has read.
	SummaryConversationRead
)

// SummaryItem is one message or single chat of an author's summary: latest values, never deltas.
// Times are Unix milliseconds.
type SummaryItem struct {
	Kind SummaryKind
	// Message is empty for a conversation read.
	Message string
	// Group is set for a group message, Peer for all others: who received or read.
	Group, Peer string
	// Count, LastReader and FirstReadAt belong to a group message; LastReader is empty if its
	// receipts are counted only.
	Count       int
	LastReader  string
	FirstReadAt int64
	// DeliveredAt is when a single-chat message was delivered, 0 if that was not reported before it
	// was read.
	DeliveredAt int64
	// LastReadAt is when the message or the chat was read, by the last reader; 0 for
	// SummaryDelivered.
	LastReadAt int64
}

// At is the time of the latest receipt that the item tells of, in Unix milliseconds.
func (i *SummaryItem) At() int64 { return max(i.DeliveredAt, i.LastReadAt) }

// Summary is what an author has not acknowledged.
type Summary struct {
	// Items are in the order of their latest news.
	Items []SummaryItem
	// Dropped is how many items were pushed out since the author last acknowledged a summary.
	Dropped int
}

// Rejection is one rejected event.
type Rejection struct {
	Partition int
	Sequence  uint64
	Index     int   // of the event in its log entry
	At        int64 // when it was decided, Unix milliseconds
	Outcome   events.Outcome
	Kind      events.Kind
	Group     string
	Peer      string
	User      string
	Message   string
}

// Group is a group as it is now.
type Group struct {
	// Owner is who has that role: who created it, or to whom it was handed over; empty once they
	// have left.
	Owner string
	// Members are the current ones, in the order in which they first joined.
	Members []GroupMember
}

// GroupMember is one member of a group.
type GroupMember struct {
	User string
	Role events.Role
}

// Role is the role of a user, RoleNone for one who is not a member.
func (g *Group) Role(user string) events.Role {
	for i := range g.Members {
		if g.Members[i].User == user {
			return g.Members[i].Role
		}
	}
	return events.RoleNone
}
