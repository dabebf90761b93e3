package projections

import "github.com/receiptd/receiptd/events"

// messageRecalled decides message.recalled: docs/rules.md, "message.recalled". The numbers are its
// steps. What concerns a message that is there is in decideRecall, because a parked recall goes
// through that once its message is there.
func (p *Partition) messageRecalled(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	if c != nil {
		m, err := p.messageOf(c, e.batch.Msg[i])
		if err != nil {
			return 0, err
		}
		if m != nil {
			return p.decideRecall(m, e.user(i))
		}
	}
	switch refused := c.refuses(e.user(i)); refused {
	case events.RejectedNotMember: // 3
		return events.RejectedNotAllowed, nil
	case events.RejectedNoGroup: // 2
		return refused, nil
	}
	if e.batch.Flags[i]&events.FlagStrict != 0 {
		return events.RejectedNoMessage, nil
	}
	return p.park(a, i), nil
}

// decideRecall decides a recall of a message that is there.
func (p *Partition) decideRecall(m *message, user string) (events.Outcome, error) {
	by, known := m.conv.ordinal(user)
	may := known && (by == m.sender || m.conv.members[by].role >= events.RoleAdmin)
	switch {
	case m.recalled() && may: // 1
		return events.OutcomeDuplicate, nil
	case m.conv.dissolved: // 2
		return events.RejectedNoGroup, nil
	case !may: // 4
		return events.RejectedNotAllowed, nil
	}
	return events.OutcomeApplied, p.recall(m) // 5
}

// recall drops everything about a message but that it was there.
func (p *Partition) recall(m *message) error {
	c := m.conv
	for o := range c.members {
		u := &c.members[o]
		if uint32(o) != m.sender && !m.silent() && u.active() && u.joined < m.seq && u.watermark < m.seq && !u.hasReadAlone(m.seq) {
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
	m.header = header{kind: m.state() | msgRecalled, sender: m.sender, label: m.label, seq: m.seq, sentAt: m.sentAt}
	m.log, m.bits, m.more = nil, [2]uint64{}, nil
	p.cache.bytes += m.cost() - before
	p.changes.touchMessage(m)
	if err := p.dropRecalled(c, m.seq); err != nil {
		return err
	}
	if p.taps.trackFacts {
		p.addFact(events.MessageRecalled, m, "", "")
	}
	return nil
}
