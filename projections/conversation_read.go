package projections

import "github.com/receiptd/receiptd/events"

// conversationRead decides conversation.read: docs/rules.md, "conversation.read". It covers exactly
// what was sent before it.
func (p *Partition) conversationRead(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	if e.conversation(i).Group != "" {
		if c == nil || c.dissolved { // group 1
			return events.RejectedNoGroup, nil
		}
	} else if c == nil { // single chat 1
		return events.OutcomeDuplicate, nil
	}
	user := e.user(i)
	o, known := c.ordinal(user)
	if !known || !c.members[o].active() { // group 2
		return events.RejectedNotMember, nil
	}
	u := &c.members[o]
	if u.watermark == c.sent { // group 3, single chat 2
		return events.OutcomeDuplicate, nil
	}
	before := u.watermark
	u.watermark, u.base, u.lastReadAt = c.sent, c.sent, p.position.clock // group 4
	p.changes.touchMember(c, o)
	if c.group() {
		return events.OutcomeApplied, nil
	}
	if err := p.summarizeChat(c, o); err != nil { // single chat 3
		return 0, err
	}
	if p.taps.online != nil {
		p.tellConversation(c, user, o)
	}
	return events.OutcomeApplied, p.readChat(a, c, o, before)
}

// readChat marks as read what the peer sent in a single chat and the reader had not read. Messages
// up to the reader's watermark before need no look.
func (p *Partition) readChat(a *app, c *conversation, reader uint32, before uint64) error {
	unread, err := p.unreadAfter(c, before)
	if err != nil {
		return err
	}
	for _, x := range unread {
		if x.value.sender == reader {
			continue
		}
		p.dropUnread(c, x.n)
		m, err := p.message(c, x.value.id)
		if err != nil {
			return err
		}
		if m == nil {
			return errCorrupt
		}
		if m.recalled() || m.hasRead(reader) || a.singleValidity > 0 && p.position.clock-m.sentAt > a.singleValidity {
			continue
		}
		if err := p.addReader(m, reader, ""); err != nil {
			return err
		}
		p.changes.touchMessage(m)
		if p.taps.trackFacts {
			p.addFact(events.MessageRead, m, c.members[reader].user, "")
		}
	}
	return nil
}
