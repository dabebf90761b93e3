package projections

import (
	"strings"

	"github.com/receiptd/receiptd/events"
)

// receipt decides message.delivered and message.read: docs/rules.md, "Receipts". The numbers are
// its steps. What concerns a message that is there is in decideReceipt, because a parked receipt
// goes through that once its message is there.
func (p *Partition) receipt(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	ref := e.batch.Conv[i]
	kind := e.batch.Kinds[i]
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	if c != nil {
		m, err := p.messageOf(c, e.batch.Msg[i])
		if err != nil {
			return 0, err
		}
		if m != nil {
			ordinal, known := p.ordinalOf(c, i)
			return p.decideReceipt(a, m, giver{e.user(i), ordinal, known}, e.content(i), kind, p.ago(a, i))
		}
	}
	if o := a.checkRecording(kind, e.batch.Conversations[ref].Group != ""); o != events.OutcomeApplied {
		return o, nil
	}
	if o := c.refuses(e.user(i)); o != events.OutcomeApplied { // 1, 2
		return o, nil
	}
	if e.batch.Flags[i]&events.FlagStrict != 0 {
		return notFound(e.batch.Conversations[ref].Group != ""), nil
	}
	return p.park(a, i), nil
}

// notFound is the rejection of a receipt for a message that is not there, or no more.
func notFound(group bool) events.Outcome {
	if group {
		return events.RejectedNotFound
	}
	return events.RejectedNoMessage
}

// checkRecording decides what the rules decide before the list: whether the app records receipts of
// the kind at all. It returns OutcomeApplied if it does, else the rejection.
func (a *app) checkRecording(kind events.Kind, group bool) events.Outcome {
	switch {
	case kind == events.MessageDelivered && !a.settings.DeliveryReceipts:
		return events.RejectedDeliveryOff
	case kind == events.MessageRead && group && !a.settings.GroupReceipts.Enabled:
		return events.RejectedNotOpen
	}
	return events.OutcomeApplied
}

// giver is who gives a receipt, and the ordinal if that is a member of the conversation, current or
// former.
type giver struct {
	user    string
	ordinal uint32
	known   bool
}

// decideReceipt decides a receipt of a message that is there, which happened so long ago.
func (p *Partition) decideReceipt(a *app, m *message, by giver, content string, kind events.Kind, ago int64) (events.Outcome, error) {
	c := m.conv
	group := c.group()
	reader, known := by.ordinal, by.known
	sender := known && reader == m.sender
	if known && !sender && !m.recalled() && m.has(kind, reader) {
		return events.OutcomeDuplicate, nil
	}
	if o := a.checkRecording(kind, group); o != events.OutcomeApplied {
		return o, nil
	}
	switch {
	case c.dissolved: // 1
		return events.RejectedNoGroup, nil
	case m.recalled(): // 3
		return notFound(group), nil
	case sender: // 4
		return events.OutcomeDuplicate, nil
	}
	if group && !m.collects() { // 5
		if m.state() == msgOversize {
			return events.OutcomeDuplicate, nil
		}
		return events.RejectedNotFound, nil
	}
	validity := a.singleValidity
	if group {
		if !known || !c.members[reader].active() { // 6
			return events.RejectedNotMember, nil
		}
		if !c.members[reader].wasThere(m.seq) { // 7
			return events.RejectedNotFound, nil
		}
		validity = a.groupValidity
	}
	if validity > 0 && p.position.clock.age(m.sentAt)-ago > validity { // 8: too late
		return notFound(group), nil
	}
	reads, deliveries, err := p.hides(c, reader) // 9
	if err != nil {
		return 0, err
	}
	hidden := deliveries
	if kind == events.MessageRead {
		if hidden = reads; a.settings.UnreadBy == events.UnreadByMessage {
			if err := p.readAlone(m, reader, hidden, ago); err != nil {
				return 0, err
			}
		}
		p.tellOwn(c, reader, kind, m.id, p.readAt(m, ago))
	}
	if hidden {
		p.hideReceipt(m, reader, kind)
		return events.OutcomeHidden, nil
	}
	return events.OutcomeApplied, p.applyReceipt(m, reader, by.user, content, kind, ago)
}

// has reports whether the receiver of a message has given a receipt of the kind, hidden or not, or
// one that says as much.
func (m *message) has(kind events.Kind, reader uint32) bool {
	if kind == events.MessageDelivered { // a single chat
		return m.deliveredAt != 0 || m.kind&msgArrived != 0 || m.readers > 0
	}
	return m.hasRead(reader)
}

// hideReceipt is what an applied receipt does that nobody is told of.
func (p *Partition) hideReceipt(m *message, reader uint32, kind events.Kind) {
	if kind == events.MessageRead {
		p.hideReader(m, reader)
		return
	}
	m.kind |= msgArrived
	p.changes.touchMessage(m)
}

// applyReceipt is what an applied receipt does: the message is read, or delivered. Of a counted one
// nobody is told by whom, nor with what content.
func (p *Partition) applyReceipt(m *message, reader uint32, user, content string, kind events.Kind, ago int64) error {
	p.changes.touchMessage(m)
	at := p.readAt(m, ago)
	var err error
	if kind == events.MessageRead {
		err = p.addReader(m, reader, at, content)
	} else {
		m.deliveredAt = max(p.position.clock.now-ago, m.sentAt)
		err = p.countDelivered(m)
	}
	if err == nil && !p.scratch.imported {
		err = p.summarizeReceipt(m)
	}
	if err != nil {
		return err
	}
	if m.counted() {
		user, content = "", ""
	}
	if p.taps.online != nil && !p.scratch.imported {
		if err := p.tell(m, user, content, kind, at); err != nil {
			return err
		}
	}
	if p.taps.trackFacts {
		if user != "" {
			user = m.conv.members[reader].user // which stays valid
		}
		p.addFact(kind, m, user, strings.Clone(content))
	}
	return nil
}
