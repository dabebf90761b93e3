package projections

import (
	"strings"

	"github.com/receiptd/receiptd/events"
)

const dayMillis = 24 * 60 * 60 * 1000

// messageSent decides message.sent: docs/rules.md, "message.sent". The numbers are its steps.
func (p *Partition) messageSent(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	ref := e.batch.Conv[i]
	name := nameOf(e.conversation(i))
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	var m *message
	var sender uint32
	known := false
	if c != nil {
		if m, err = p.messageOf(c, e.batch.Msg[i]); err != nil {
			return 0, err
		}
		if sender, known = p.ordinalOf(c, i); m != nil && known && m.sender == sender { // 1
			return events.OutcomeDuplicate, nil
		}
	}
	switch {
	case name.group != "" && (c == nil || c.dissolved): // 2
		return events.RejectedNoGroup, nil
	case m != nil:
		return events.RejectedMessageExists, nil
	case c == nil:
		c = p.newConversation(a, name)
		e.convs[ref] = c
		sender, known = p.ordinalOf(c, i)
	}
	if !known || !c.members[sender].active() { // 3
		return events.RejectedNotMember, nil
	}
	ago := p.ago(a, i)
	at := p.position.clock.now - ago
	asks := e.batch.Flags[i]&events.FlagReceipt != 0
	if c.group() && asks { // 4
		if o := p.mayAsk(a, c, &c.members[sender], at); o != events.OutcomeApplied {
			return o, nil
		}
	}
	h := header{sender: sender, label: p.labelOf(a, i), sentAt: at}
	if e.batch.Flags[i]&events.FlagSilent != 0 {
		h.kind = msgSilent
	}
	if c.group() {
		if err := p.openBlock(c); err != nil {
			return 0, err
		}
	}
	m = p.send(a, c, strings.Clone(e.messageID(i)), h, asks) // 5
	e.messages[e.batch.Msg[i]] = m
	if err := p.countSent(m); err != nil {
		return 0, err
	}
	if p.taps.trackFacts {
		p.addFact(events.MessageSent, m, c.members[sender].user, "")
	}
	return events.OutcomeApplied, p.unpark(a, m, ago)
}

// mayAsk is step 4 of message.sent: whether a member may ask for receipts at a time, by the limits
// of the requirement document.
func (p *Partition) mayAsk(a *app, c *conversation, m *member, at int64) events.Outcome {
	g := &a.settings.GroupReceipts
	switch {
	case !g.Enabled:
		return events.RejectedNotOpen
	case g.WhoMayRequest == events.WhoAdmins && m.role == events.RoleMember:
		return events.RejectedPermission
	case g.MaxRequestsPerGroupPerDay > 0 && a.kindOf(c) != msgOversize && c.day == at/dayMillis && c.requests >= g.MaxRequestsPerGroupPerDay:
		return events.RejectedDailyLimit
	}
	return events.OutcomeApplied
}

// kindOf is the kind of a group message that asks for receipts now.
func (a *app) kindOf(c *conversation) uint8 {
	g := &a.settings.GroupReceipts
	switch {
	case g.MaxGroupSize == 0 || c.active <= g.MaxGroupSize:
		return msgTracked
	case g.AboveLimit == events.AboveLimitCounts:
		return msgCounted
	}
	return msgOversize
}

// send is what an applied message.sent does, by what is known of the message beforehand. The
// eligible readers are frozen by the message's seq: they are those who were members then.
func (p *Partition) send(a *app, c *conversation, id string, h header, asks bool) *message {
	c.sent++
	if h.silent() {
		c.silent++
	} else {
		c.members[h.sender].base++ // their own message is not unread to the sender
	}
	p.changes.touchMember(c, h.sender)
	h.seq = c.sent
	p.addUnread(c, c.sent, unreadRef{sender: h.sender, silent: h.silent(), id: id})
	switch {
	case !c.group():
		h.kind |= msgTracked
		h.eligible = 1
	case !asks:
		h.kind |= msgPlain
	default:
		if h.kind |= a.kindOf(c); h.collects() {
			h.eligible = uint32(c.active - 1)
		}
	}
	if c.group() && h.collects() {
		if day := h.sentAt / dayMillis; c.day != day {
			c.day, c.requests = day, 0
		}
		c.requests++
	}
	return p.newMessage(c, id, h)
}
