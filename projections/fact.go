package projections

import "github.com/receiptd/receiptd/events"

// Fact is what an event did to a message: it was sent, delivered, read or recalled. Where an event does more than
// one thing, or does it to other messages than it names, there is a fact for each: a conversation read reads many
// messages, a message that is sent meets the receipts that waited for it. All of them are in the event's own
// conversation. Its strings stay valid.
type Fact struct {
	// Index of the event in the entry being applied.
	Index int
	// Kind is events.MessageSent, MessageDelivered, MessageRead or MessageRecalled.
	Kind events.Kind
	// Eligible and Read are counts of the message, as they are now.
	Eligible, Read uint32
	// Message is its id, Sender who sent it, SentAt when, Unix milliseconds.
	Message, Sender string
	SentAt          int64
	// User is who did it: the sender, the receiver, the reader; empty for a recall.
	User, Content string
}

// fact notes what the event at hand did to a message, which changed. Callers ask p.trackFacts first.
func (p *Partition) fact(kind events.Kind, m *message, user, content string) {
	p.facts = append(p.facts, Fact{
		Index: len(p.outcomes), Kind: kind, Eligible: m.eligible, Read: m.readers,
		Message: m.id, Sender: m.conv.members[m.sender].user, SentAt: m.sentAt, User: user, Content: content,
	})
	if m.refs == 0 { // only from the list
		m.refs = 1
		p.changedMessages = append(p.changedMessages, m)
	}
}

// TakeFacts returns the facts of the entries applied since the last call, in the order in which they came to be, behind
// those in dst. The slice that it returns is the caller's, and the memory of an empty dst the partition's from now on. It is for
// a partition opened with Options.TrackFacts.
func (p *Partition) TakeFacts(dst []Fact) []Fact {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(dst) > 0 {
		dst = append(dst, p.facts...)
		p.facts = p.facts[:0]
		return dst
	}
	facts := p.facts
	p.facts = dst
	return facts
}

// AppMessage is a message with the app that it is of.
type AppMessage struct {
	App string
	Message
}

// TakeMessages appends the messages that facts since the last call were about, as they are now. Each is in the list once. What was
// not taken before a checkpoint is not told by the partition that is opened from it: take and keep first, then commit.
func (p *Partition) TakeMessages(dst []AppMessage) []AppMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.changedMessages {
		dst = append(dst, AppMessage{App: m.conv.app.key, Message: m.view()})
		m.refs = 0
	}
	clear(p.changedMessages)
	p.changedMessages = p.changedMessages[:0]
	p.settle()
	return dst
}

// ChangedMessages is how many TakeMessages would return.
func (p *Partition) ChangedMessages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.changedMessages)
}
