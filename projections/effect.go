package projections

import "github.com/receiptd/receiptd/events"

// Effect is something that a user who is online would be told: an applied receipt. Effects are made
// only while folding live entries, never during a replay. Its strings are valid until the next
// entry is applied.
type Effect struct {
	// Kind is events.MessageDelivered, events.MessageRead or events.ConversationRead (single chats
	// only). If it is Own, it is events.MessageRead, ConversationRead or ConversationMarkedUnread.
	Kind events.Kind
	App  string
	// To is who is told: the author of the message, or the peer of a conversation read; of their
	// own deeds, for their other devices, the reader.
	To string
	// Own says that the effect tells To of what they did themselves. Peer is then the other side of
	// a single chat; Unread their unread count in the conversation after it, and Marked whether
	// they have marked it. EventID is the id of the event by which they did it, if it has one: by
	// that, whoever sent it knows it again.
	Own     bool
	Peer    string
	Unread  int
	Marked  bool
	EventID string
	// Group, Message, Reader and Content describe the receipt; in a single chat Group is empty. Of
	// a message of which receipts are counted only, Reader and Content are.
	Group, Message, Reader, Content string
	// At is the time of the receipt, Unix milliseconds.
	At int64
	// Count and Eligible are the message's read count after the receipt, and its frozen readers.
	Count, Eligible int
	// Sequence is the log entry, in the partition whose fold made the effect.
	Partition int
	Sequence  uint64
}

// tell makes the effect of an applied receipt, of a time if it is a read, if the message's sender
// is online.
func (p *Partition) tell(m *message, reader, content string, kind events.Kind, at int64) error {
	c := m.conv
	to := c.members[m.sender].user
	if !p.taps.online(c.app.key, to) {
		return nil
	}
	if kind == events.MessageRead {
		if nobody, err := p.seesNobody(c, m.sender); nobody || err != nil {
			return err
		}
	}
	e := Effect{
		Kind: kind, App: c.app.key, To: to, Group: c.name.group, Message: m.id,
		Reader: reader, Content: content, At: m.deliveredAt,
		Eligible: int(m.eligible), Partition: p.share.id, Sequence: p.position.seq,
	}
	if kind == events.MessageRead {
		e.Count, e.At = int(m.readers), at
	}
	p.taps.effects = append(p.taps.effects, e)
	return nil
}

// tellOwn tells a member's own devices what they have just done: read a message, read or marked the
// conversation, and when that was.
func (p *Partition) tellOwn(c *conversation, o uint32, kind events.Kind, message string, at int64) {
	u := &c.members[o]
	if p.taps.online == nil || p.scratch.imported || !p.taps.online(c.app.key, u.user) {
		return
	}
	e := Effect{
		Kind: kind, App: c.app.key, To: u.user, Own: true, Group: c.name.group, Message: message, Reader: u.user,
		At: at, Unread: int(c.unreadBy(u)), Marked: u.marked(), Partition: p.share.id, Sequence: p.position.seq,
	}
	if !c.group() {
		e.Peer = c.members[1-o].user
	}
	// What was parked is not what the current event did itself.
	b, i := p.scratch.batch, len(p.scratch.outcomes)
	if len(b.EventIDs) > 0 && b.Kinds[i] == kind {
		e.EventID = b.EventIDs[i]
	}
	p.taps.effects = append(p.taps.effects, e)
}

// tellConversation makes the effect of a conversation read in a single chat.
func (p *Partition) tellConversation(c *conversation, reader uint32) error {
	to := c.members[1-reader].user
	if !p.taps.online(c.app.key, to) {
		return nil
	}
	if nobody, err := p.seesNobody(c, 1-reader); nobody || err != nil {
		return err
	}
	p.taps.effects = append(p.taps.effects, Effect{
		Kind: events.ConversationRead, App: c.app.key, To: to, Reader: c.members[reader].user,
		At: c.members[reader].lastReadAt, Partition: p.share.id, Sequence: p.position.seq,
	})
	return nil
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
