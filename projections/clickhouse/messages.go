package clickhouse

import (
	"context"

	"github.com/receiptd/receiptd/projections"
)

// MessageRow is the latest state of a message.
type MessageRow struct {
	projections.AppMessage
	// Version is the [Version] as of which this is the state.
	Version uint64
}

var messagesTable = tableOf[messageColumns]("messages")

// messageColumns are the columns of the table messages.
type messageColumns struct {
	App         lowCardinality  `ch:"app"`
	Group       texts           `ch:"group"`
	Peer        texts           `ch:"peer"`
	ID          texts           `ch:"id"`
	Sender      texts           `ch:"sender"`
	SentAt      millis          `ch:"sent_at"`
	Receipt     bools           `ch:"receipt"`
	Recalled    bools           `ch:"recalled"`
	Eligible    numbers[uint32] `ch:"eligible"`
	Delivered   numbers[uint32] `ch:"delivered"`
	Read        numbers[uint32] `ch:"read"`
	FirstReadAt millis          `ch:"first_read_at"`
	LastReadAt  millis          `ch:"last_read_at"`
	Version     numbers[uint64] `ch:"version"`
	Label       lowCardinality  `ch:"label"`
	Tracked     bools           `ch:"tracked"`
	ChatSender  texts           `ch:"chat_sender"`
}

func (c *messageColumns) set(i int, r *MessageRow) {
	m := &r.Message
	c.App.keys[i], _ = c.App.key(r.App)
	c.Group.values[i] = m.Group
	c.Peer.values[i] = m.To
	c.ID.values[i] = m.ID
	c.Sender.values[i] = m.From
	c.SentAt.values[i] = storable(m.SentAt)
	c.Receipt.values[i] = m.ReceiptRequested
	c.Recalled.values[i] = m.Recalled
	c.Eligible.values[i] = uint32(m.Eligible)
	c.Delivered.values[i] = uint32(m.Delivered)
	c.Read.values[i] = uint32(m.Read)
	c.FirstReadAt.values[i] = storable(m.FirstReadAt)
	c.LastReadAt.values[i] = storable(m.LastReadAt)
	c.Version.values[i] = r.Version
	c.Label.keys[i], _ = c.Label.key(m.Label)
	c.Tracked.values[i] = m.Tracked
	if m.Group == "" {
		c.ChatSender.values[i] = m.From
	}
}

// InsertMessages stores the latest state of messages. Storing it again does no harm.
func (s *Store) InsertMessages(ctx context.Context, rows []MessageRow) error {
	var c messageColumns
	columns := messagesTable.extended(&c, len(rows))
	for i := range rows {
		c.set(i, &rows[i])
	}
	return s.insertLatest(ctx, messagesTable, columns)
}
