package projections

import "github.com/receiptd/receiptd/events"

// messageRecalled decides message.recalled: docs/rules.md, "message.recalled". The numbers are its
// steps.
func (p *Partition) messageRecalled(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	if e.conversation(i).Group != "" && (c == nil || c.dissolved) { // 1
		return events.RejectedNoGroup, nil
	}
	if c == nil { // 2
		return events.RejectedNoMessage, nil
	}
	m, err := p.messageOf(c, e.batch.Msg[i])
	if err != nil {
		return 0, err
	}
	switch {
	case m == nil: // 2
		return events.RejectedNoMessage, nil
	case m.recalled(): // 3
		return events.OutcomeDuplicate, nil
	}
	by, known := c.ordinal(e.user(i))
	if !known || by != m.sender && c.members[by].role < events.RoleAdmin { // 4
		return events.RejectedNotAllowed, nil
	}
	return events.OutcomeApplied, p.recall(m) // 5
}

// recall drops everything about a message but that it was there.
func (p *Partition) recall(m *message) error {
	c := m.conv
	for o := range c.members {
		u := &c.members[o]
		if uint32(o) != m.sender && u.active() && u.joined < m.seq && u.watermark < m.seq {
			u.base++ // one unread less
			p.changes.touchMember(c, uint32(o))
		}
	}
	if err := p.unsummarize(m); err != nil {
		return err
	}
	if err := p.countRecalled(m); err != nil {
		return err
	}
	before := m.cost()
	m.header = header{kind: m.state() | msgRecalled, sender: m.sender, seq: m.seq, sentAt: m.sentAt}
	m.log, m.bits, m.more = nil, [2]uint64{}, nil
	p.cache.bytes += m.cost() - before
	p.changes.touchMessage(m)
	if !c.group() {
		p.dropUnread(c, m.seq)
	}
	if p.taps.trackFacts {
		p.addFact(events.MessageRecalled, m, "", "")
	}
	return nil
}
