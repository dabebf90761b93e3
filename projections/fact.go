package projections

import "github.com/receiptd/receiptd/events"

// Fact is what an event did to a message: it was sent, delivered, read or recalled. Where an event
// does more than one thing, or does it to other messages than it names, there is a fact for each: a
// conversation read reads many messages, a message that is sent meets the receipts that waited for
// it. All of them are in the event's own conversation. Its strings stay valid.
type Fact struct {
	// Index of the event in the entry being applied.
	Index int
	// Kind is events.MessageSent, MessageDelivered, MessageRead or MessageRecalled.
	Kind events.Kind
	// Eligible and Read are counts of the message, as they are after the event.
	Eligible, Read uint32
	// Message is its id, Sender who sent it, SentAt when, in Unix milliseconds.
	Message, Sender string
	// Label is what the message is counted under; empty = nothing.
	Label  string
	SentAt int64
	// User is who did it: the sender, the receiver, the reader; empty for a recall.
	User, Content string
}

// addFact records what the current event did to a message, which changed. Callers ask
// p.taps.trackFacts first.
func (p *Partition) addFact(kind events.Kind, m *message, user, content string) {
	p.taps.facts = append(p.taps.facts, Fact{
		Index: len(p.scratch.outcomes), Kind: kind, Eligible: m.eligible, Read: m.readers,
		Message: m.id, Sender: m.conv.members[m.sender].user, Label: m.conv.app.labels.name(m.label), SentAt: m.sentAt, User: user, Content: content,
	})
	p.taps.addMessage(m)
}

// TakeFacts returns the facts of the entries applied since the last call, in the order of the fold,
// after those in dst. The slice that it returns is the caller's, and the memory of an empty dst
// the partition's from now on. It is for a partition opened with Options.TrackFacts.
func (p *Partition) TakeFacts(dst []Fact) []Fact {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.taps
	if len(dst) > 0 {
		dst = append(dst, t.facts...)
		t.facts = t.facts[:0]
		return dst
	}
	facts := t.facts
	t.facts = dst
	return facts
}

// AppMessage is a message and its app.
type AppMessage struct {
	App string
	Message
}

// TakeMessages appends to dst the messages that facts since the last call were about, as they are
// now, each once. What was not taken before a checkpoint is not returned by the partition that is
// opened from it: take and store first, then commit.
func (p *Partition) TakeMessages(dst []AppMessage) []AppMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.taps
	for _, m := range t.messages {
		dst = append(dst, AppMessage{App: m.conv.app.key, Message: m.view()})
		m.refs = 0
	}
	clear(t.messages)
	t.messages = t.messages[:0]
	p.evict()
	return dst
}

// ChangedMessages is how many TakeMessages would return.
func (p *Partition) ChangedMessages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taps.messages)
}
