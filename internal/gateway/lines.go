package gateway

import (
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// MessageLine is a message as it is told.
type MessageLine struct {
	ID               string    `json:"id"`
	From             string    `json:"from"`
	Group            string    `json:"group,omitempty"`
	To               string    `json:"to,omitempty"`
	SentAt           Timestamp `json:"sent_at"`
	ReceiptRequested bool      `json:"receipt_requested"`
	CountsOnly       bool      `json:"counts_only,omitempty"`
	Recalled         bool      `json:"recalled"`
	Eligible         int       `json:"eligible"`
	Delivered        int       `json:"delivered"`
	Read             int       `json:"read"`
	FirstReadAt      Timestamp `json:"first_read_at"`
	LastReadAt       Timestamp `json:"last_read_at"`
	Label            string    `json:"label,omitempty"`
}

// NewMessageLine makes a line of a message.
func NewMessageLine(m *projections.Message) MessageLine {
	return MessageLine{
		ID: m.ID, From: m.From, Group: m.Group, To: m.To,
		SentAt: Timestamp(m.SentAt), ReceiptRequested: m.ReceiptRequested, CountsOnly: m.CountsOnly, Recalled: m.Recalled,
		Eligible: m.Eligible, Delivered: m.Delivered, Read: m.Read,
		FirstReadAt: Timestamp(m.FirstReadAt), LastReadAt: Timestamp(m.LastReadAt), Label: m.Label,
	}
}

// AddMessage adds a message to a table of messages.
func (t *Table) AddMessage(m *projections.Message) {
	t.Head = []string{
		"id", "from", "group", "to", "sent_at", "receipt_requested", "counts_only", "recalled",
		"eligible", "delivered", "read", "first_read_at", "last_read_at", "label",
	}
	t.Rows = append(t.Rows, []string{
		cell(m.ID), cell(m.From), cell(m.Group), cell(m.To), timeCell(m.SentAt),
		strconv.FormatBool(m.ReceiptRequested), strconv.FormatBool(m.CountsOnly), strconv.FormatBool(m.Recalled),
		strconv.Itoa(m.Eligible), strconv.Itoa(m.Delivered), strconv.Itoa(m.Read), timeCell(m.FirstReadAt), timeCell(m.LastReadAt), cell(m.Label),
	})
	t.Lines = append(t.Lines, NewMessageLine(m))
}

// ReaderLine is a reader of a message as it is told.
type ReaderLine struct {
	User    string    `json:"user"`
	ReadAt  Timestamp `json:"read_at"`
	Content string    `json:"content,omitempty"`
}

// AddReader adds a reader to a table of readers.
func (t *Table) AddReader(r *projections.Reader) {
	t.Head = []string{"user", "read_at", "content"}
	t.Rows = append(t.Rows, []string{cell(r.User), timeCell(r.ReadAt), cell(r.Content)})
	t.Lines = append(t.Lines, ReaderLine{r.User, Timestamp(r.ReadAt), r.Content})
}

// ReadLine is a message that a user has read, as it is told.
type ReadLine struct {
	Message string    `json:"message"`
	Group   string    `json:"group,omitempty"`
	Peer    string    `json:"peer,omitempty"`
	From    string    `json:"from"`
	SentAt  Timestamp `json:"sent_at"`
	ReadAt  Timestamp `json:"read_at"`
	Content string    `json:"content,omitempty"`
}

// AddRead adds a message that a user has read, or has not if ReadAt is 0, to a table of those.
func (t *Table) AddRead(r ReadLine) {
	t.Head = []string{"message", "group", "peer", "from", "sent_at", "read_at", "content"}
	t.Rows = append(t.Rows, []string{
		cell(r.Message), cell(r.Group), cell(r.Peer), cell(r.From), timeCell(int64(r.SentAt)), timeCell(int64(r.ReadAt)), cell(r.Content),
	})
	t.Lines = append(t.Lines, r)
}

// timeCell is a time as the API writes it; empty for none.
func timeCell(ms int64) string {
	if ms == 0 {
		return ""
	}
	return string(events.AppendTime(nil, ms))
}

// AddNonReader adds a user to a table of those who have not read a message.
func (t *Table) AddNonReader(user string) {
	t.Head = []string{"user"}
	t.Rows = append(t.Rows, []string{cell(user)})
	t.Lines = append(t.Lines, struct {
		User string `json:"user"`
	}{user})
}
