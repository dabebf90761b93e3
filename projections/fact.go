package projections

import "github.com/receiptd/receiptd/events"

// Fact is what an event did to a message: it was sent, delivered, read or recalled. Where an event does more than
// one thing, or does it to other messages than it names, there is a fact for each: a conversation read reads many
// messages, a message that is sent meets the receipts that waited for it. Its strings stay valid.
type Fact struct {
	// Index of the event in the entry being applied.
	Index int
	// Kind is events.MessageSent, MessageDelivered, MessageRead or MessageRecalled.
	Kind events.Kind
	App  string
	// User is who did it: the sender, the receiver, the reader; empty for a recall.
	User, Content string
	// At is the fold's clock, Unix milliseconds.
	At int64
	// Message is the message as it is now, with the time of its own delivery receipt, 0 = none.
	Message     Message
	DeliveredAt int64
}

// fact notes what the event at hand did to a message. Callers ask p.keepFacts first.
func (p *Partition) fact(kind events.Kind, m *message, user, content string) {
	p.facts = append(p.facts, Fact{
		Index: len(p.outcomes), Kind: kind, App: m.conv.app.key, User: user, Content: content, At: p.clock,
		Message: m.view(), DeliveredAt: m.deliveredAt,
	})
}

// TakeFacts returns the facts of the entries applied since the last call, in the order in which they came to be, behind
// those in dst. The slice that it returns is the caller's, and the memory of an empty dst the partition's from now on. It is for
// a partition opened with Options.KeepFacts.
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
