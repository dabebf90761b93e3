package projections

import "github.com/receiptd/receiptd/events"

// Effect is something that a user who is online would be told: an applied receipt. Effects are made
// only while folding live entries, never during a replay. Its strings are valid until the next
// entry is applied.
type Effect struct {
	// Kind is events.MessageDelivered, events.MessageRead or events.ConversationRead (single chats
	// only).
	Kind events.Kind
	App  string
	// To is who is told: the author of the message, or the peer of a conversation read.
	To string
	// Group, Message, Reader and Content describe the receipt; in a single chat Group is empty.
	Group, Message, Reader, Content string
	// At is the time of the receipt, Unix milliseconds.
	At int64
	// Count and Eligible are the message's read count after the receipt, and its frozen readers.
	Count, Eligible int
	// Sequence is that of the log entry, in the partition whose fold made the effect.
	Partition int
	Sequence  uint64
}

// tell makes the effect of an applied receipt if the message's sender is online.
func (p *Partition) tell(m *message, reader, content string, kind events.Kind) {
	c := m.conv
	to := c.members[m.sender].user
	if !p.taps.online(c.app.key, to) {
		return
	}
	e := Effect{
		Kind: kind, App: c.app.key, To: to, Group: c.name.group, Message: m.id,
		Reader: reader, Content: content, At: m.deliveredAt,
		Eligible: int(m.eligible), Partition: p.id, Sequence: p.position.seq,
	}
	if kind == events.MessageRead {
		e.Count, e.At = int(m.readers), m.lastAt
	}
	p.taps.effects = append(p.taps.effects, e)
}

// tellConversation makes the effect of a conversation read in a single chat.
func (p *Partition) tellConversation(c *conversation, reader string, o uint32) {
	to := c.members[1-o].user
	if !p.taps.online(c.app.key, to) {
		return
	}
	p.taps.effects = append(p.taps.effects, Effect{
		Kind: events.ConversationRead, App: c.app.key, To: to, Reader: reader,
		At: c.members[o].lastReadAt, Partition: p.id, Sequence: p.position.seq,
	})
}

// TakeEffects moves the effects of the entries applied since the last call into dst.
func (p *Partition) TakeEffects(dst []Effect) []Effect {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.taps
	dst = append(dst, t.effects...)
	clear(t.effects)
	t.effects = t.effects[:0]
	return dst
}
