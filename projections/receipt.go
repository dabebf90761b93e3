package projections

import (
	"strings"

	"github.com/receiptd/receiptd/events"
)

const dayMillis = 24 * 60 * 60 * 1000

// sent decides message.sent.
func (p *Partition) sent(a *app, i int) (events.Outcome, error) {
	e := &p.entry
	ref := e.b.Conv[i]
	name := nameOf(&e.b.Conversations[ref])
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	if name.group != "" && (c == nil || c.dissolved) {
		return events.RejectedNoGroup, nil
	}
	if c == nil {
		c = p.newConversation(a, name)
		e.convs[ref] = c
	}
	user := e.user(i)
	m, err := p.messageOf(c, e.b.Msg[i])
	if err != nil {
		return 0, err
	}
	sender, known := c.ordinal(user)
	if m != nil {
		if known && m.sender == sender {
			return events.OutcomeDuplicate, nil
		}
		return events.RejectedMessageExists, nil
	}
	if !known || !c.members[sender].active() {
		return events.RejectedNotMember, nil
	}
	asks := e.b.Flags[i]&events.FlagReceipt != 0
	if c.group() && asks {
		if o := p.mayAsk(a, c, &c.members[sender]); o != events.OutcomeApplied {
			return o, nil
		}
	}
	m = p.send(a, c, strings.Clone(e.messageID(i)), sender, asks)
	e.msgs[e.b.Msg[i]] = m
	if err := p.rollSent(m); err != nil {
		return 0, err
	}
	if p.trackFacts {
		p.fact(events.MessageSent, m, c.members[sender].user, "")
	}
	return events.OutcomeApplied, p.unpark(a, m)
}

// mayAsk decides whether a member may ask for receipts now, by the limits of the requirement document.
func (p *Partition) mayAsk(a *app, c *conversation, m *member) events.Outcome {
	g := &a.settings.GroupReceipts
	switch {
	case !g.Enabled:
		return events.RejectedNotOpen
	case g.WhoMayRequest == events.WhoAdmins && m.role == events.RoleMember:
		return events.RejectedPermission
	case g.MaxRequestsPerGroupPerDay > 0 && c.day == p.clock/dayMillis && c.requests >= g.MaxRequestsPerGroupPerDay:
		return events.RejectedDailyLimit
	}
	return events.OutcomeApplied
}

// send records a message that may be sent. The eligible readers are frozen by its seq: who was a member then.
func (p *Partition) send(a *app, c *conversation, id string, sender uint32, asks bool) *message {
	c.sent++
	c.members[sender].base++ // his own message is not unread to him
	p.touchMember(c, sender)
	h := header{sender: sender, seq: c.sent, sentAt: p.clock}
	switch limit := a.settings.GroupReceipts.MaxGroupSize; {
	case !c.group():
		h.kind, h.eligible = msgTracked, 1
		p.addUnread(c, c.sent, unreadRef{sender: sender, id: id})
	case !asks:
		h.kind = msgPlain
	case limit > 0 && c.active > limit:
		h.kind = msgOversize
	default:
		h.kind, h.eligible = msgTracked, uint32(c.active-1)
	}
	if c.group() && asks {
		if day := p.clock / dayMillis; c.day != day {
			c.day, c.requests = day, 0
		}
		c.requests++
	}
	return p.newMessage(c, id, h)
}

// receipt decides message.delivered and message.read.
func (p *Partition) receipt(a *app, i int) (events.Outcome, error) {
	e := &p.entry
	ref := e.b.Conv[i]
	read := e.b.Kinds[i] == events.MessageRead
	if o := a.takes(read, e.b.Conversations[ref].Group != ""); o != events.OutcomeApplied {
		return o, nil
	}
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	if c != nil && c.dissolved {
		return events.RejectedNoGroup, nil
	}
	var m *message
	if c != nil {
		if m, err = p.messageOf(c, e.b.Msg[i]); err != nil {
			return 0, err
		}
	}
	if m == nil {
		if e.b.Flags[i]&events.FlagStrict != 0 {
			return events.RejectedNotFound, nil
		}
		return p.park(a, i), nil
	}
	return p.decideReceipt(a, m, e.user(i), e.content(i), read)
}

// takes decides what needs no message: whether the app records such receipts at all.
func (a *app) takes(read, group bool) events.Outcome {
	switch {
	case !read && !a.settings.DeliveryReceipts:
		return events.RejectedDeliveryOff
	case read && group && !a.settings.GroupReceipts.Enabled:
		return events.RejectedNotOpen
	}
	return events.OutcomeApplied
}

// decideReceipt decides a receipt for a message that is there.
func (p *Partition) decideReceipt(a *app, m *message, user, content string, read bool) (events.Outcome, error) {
	c := m.conv
	group := c.group()
	if m.recalled() {
		return events.RejectedNotFound, nil
	}
	reader, known := c.ordinal(user)
	if known && reader == m.sender {
		return events.OutcomeDuplicate, nil
	}
	if group && m.kind != msgTracked {
		if m.kind == msgOversize {
			return events.OutcomeDuplicate, nil
		}
		return events.RejectedNotFound, nil
	}
	if known && (m.hasRead(reader) || !read && m.deliveredAt != 0) {
		return events.OutcomeDuplicate, nil
	}
	validity := a.singleValidity
	if group {
		if !known || !c.members[reader].active() {
			return events.RejectedNotMember, nil
		}
		if !c.members[reader].wasThere(m.seq) {
			return events.RejectedNotFound, nil
		}
		validity = a.groupValidity
	}
	if validity > 0 && p.clock-m.sentAt > validity {
		return events.RejectedNotFound, nil
	}
	p.touchMessage(m)
	var err error
	if read {
		err = p.addReader(m, reader, content)
	} else {
		m.deliveredAt = p.clock
		err = p.rollDelivered(m)
	}
	if err == nil {
		err = p.summarizeReceipt(m)
	}
	if err != nil {
		return 0, err
	}
	if p.online != nil {
		p.tell(m, user, content, read)
	}
	if p.trackFacts {
		kind := events.MessageDelivered
		if read {
			kind = events.MessageRead
		}
		p.fact(kind, m, c.members[reader].user, strings.Clone(content))
	}
	return events.OutcomeApplied, nil
}

// recalled decides message.recalled.
func (p *Partition) recalled(a *app, i int) (events.Outcome, error) {
	e := &p.entry
	c, err := p.convOf(a, e.b.Conv[i])
	if err != nil {
		return 0, err
	}
	if e.b.Conversations[e.b.Conv[i]].Group != "" && (c == nil || c.dissolved) {
		return events.RejectedNoGroup, nil
	}
	if c == nil {
		return events.RejectedNoMessage, nil
	}
	m, err := p.messageOf(c, e.b.Msg[i])
	if err != nil {
		return 0, err
	}
	switch {
	case m == nil:
		return events.RejectedNoMessage, nil
	case m.recalled():
		return events.OutcomeDuplicate, nil
	}
	by, known := c.ordinal(e.user(i))
	if !known || by != m.sender && c.members[by].role < events.RoleAdmin {
		return events.RejectedNotAllowed, nil
	}
	return events.OutcomeApplied, p.recall(m)
}

// recall drops everything about the message but that it was there.
func (p *Partition) recall(m *message) error {
	c := m.conv
	for o := range c.members {
		u := &c.members[o]
		if uint32(o) != m.sender && u.active() && u.joined < m.seq && u.seen < m.seq {
			u.base++
			p.touchMember(c, uint32(o))
		}
	}
	if err := p.unsummarize(m); err != nil {
		return err
	}
	if err := p.rollRecalled(m); err != nil {
		return err
	}
	before := m.cost()
	m.header = header{kind: m.state() | msgRecalled, sender: m.sender, seq: m.seq, sentAt: m.sentAt}
	m.log, m.bits, m.more = nil, [2]uint64{}, nil
	p.cacheBytes += m.cost() - before
	p.touchMessage(m)
	if !c.group() {
		p.dropUnread(c, m.seq)
	}
	if p.trackFacts {
		p.fact(events.MessageRecalled, m, "", "")
	}
	return nil
}
