package projections

import (
	"errors"

	"github.com/receiptd/receiptd/events"
)

// ErrNotFound is returned by queries for an app, message, group or user that the state does not know.
var ErrNotFound = errors.New("projections: not found")

// Message is what the state knows about one message. Times are Unix milliseconds, 0 = none.
type Message struct {
	ID   string
	From string
	// Group is set for a group message, To (the peer) for a single-chat message.
	Group, To        string
	SentAt           int64
	ReceiptRequested bool
	Recalled         bool
	Counts
	FirstReadAt, LastReadAt int64
}

// Counts are the numbers of one message. Read is the size of its read set.
type Counts struct {
	Eligible, Delivered, Read int
}

// Reader is one entry of a message's read set.
type Reader struct {
	User    string
	ReadAt  int64 // Unix milliseconds
	Content string
}

// ReaderPage is a page of readers in the order of reading. Next is the offset of the next page, or 0
// when this is the last one.
type ReaderPage struct {
	Total   int
	Readers []Reader
	Next    int
}

// NonReaderPage is a page of the eligible members who have not read. Next is the value of after for the
// next page, or 0 when this is the last one.
type NonReaderPage struct {
	Total int
	Users []string
	Next  int
}

// ConversationView is one line of a user's conversation list.
type ConversationView struct {
	// Exactly one of Group and Peer is set.
	Group, Peer string
	Unread      int
	LastReadAt  int64 // Unix milliseconds, 0 = never
}

// StatisticItem is one message of an author's pending summary: latest values, never deltas.
type StatisticItem struct {
	Message, Group          string
	Count                   int
	LastReader              string
	FirstReadAt, LastReadAt int64 // Unix milliseconds
}

// Rejection is one rejected event.
type Rejection struct {
	Partition int
	Sequence  uint64
	Index     int // of the event in its log entry
	At        int64
	Outcome   events.Outcome
	Kind      events.Kind
	Group     string
	Peer      string
	User      string
	Message   string
}
