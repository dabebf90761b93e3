package projections

import "github.com/receiptd/receiptd/events"

// markedUnread decides conversation.marked_unread: docs/rules.md, the section of that name. The
// numbers are its steps.
func (p *Partition) markedUnread(a *app, i int) (events.Outcome, error) {
	c, o, refused, err := p.memberOf(a, i)
	switch {
	case err != nil || refused != events.OutcomeApplied: // 1
		return refused, err
	case c.members[o].marked(): // 2
		return events.OutcomeDuplicate, nil
	}
	p.alter(c, o, func(x *memberExtra) { x.marked = true })
	p.tellOwn(c, o, events.ConversationMarkedUnread, "", p.position.clock.now)
	return events.OutcomeApplied, nil
}
