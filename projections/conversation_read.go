package projections

import "github.com/receiptd/receiptd/events"

// conversationRead decides conversation.read: docs/rules.md, "conversation.read". The numbers are
// its steps. It covers what was sent up to the message that it names or, without one, before it.
func (p *Partition) conversationRead(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	user, upto := e.user(i), e.about(i)
	if upto == "" {
		switch {
		case c != nil:
			return p.readTo(a, c, user, c.sent, p.ago(a, i))
		case e.conversation(i).Group != "": // 3
			return events.RejectedNoGroup, nil
		}
		return events.OutcomeDuplicate, nil
	}
	var m *message
	if c != nil {
		if m, err = p.message(c, upto); err != nil {
			return 0, err
		}
	}
	if m == nil { // 4
		if refused := c.refuses(user); refused != events.OutcomeApplied { // 2
			return refused, nil
		}
		if e.batch.Flags[i]&events.FlagStrict != 0 {
			return notFound(e.conversation(i).Group != ""), nil
		}
		return p.park(a, i), nil
	}
	return p.readTo(a, c, user, m.seq, p.ago(a, i))
}

// refuses says why a user can neither read nor write in the conversation, which may be nil if it is
// not known; OutcomeApplied if they can.
func (c *conversation) refuses(user string) events.Outcome {
	switch {
	case c == nil:
		return events.OutcomeApplied
	case c.dissolved:
		return events.RejectedNoGroup
	}
	if o, known := c.ordinal(user); !known || !c.members[o].active() {
		return events.RejectedNotMember
	}
	return events.OutcomeApplied
}

// readTo has a user read everything in a conversation up to a seq, as they did that long ago.
func (p *Partition) readTo(a *app, c *conversation, user string, to uint64, ago int64) (events.Outcome, error) {
	reader, known := c.ordinal(user)
	if known && c.members[reader].active() && c.members[reader].watermark >= to { // 1
		if to < c.sent || c.dissolved || !c.members[reader].marked() {
			return events.OutcomeDuplicate, nil
		}
		p.unmark(c, reader)
		p.tellOwn(c, reader, events.ConversationRead, "", p.position.clock.now)
		return events.OutcomeApplied, nil
	}
	if refused := c.refuses(user); refused != events.OutcomeApplied { // 2
		return refused, nil
	}
	u := &c.members[reader]
	unread, err := p.unreadBeyond(c, reader, to)
	if err != nil {
		return 0, err
	}
	hidden, _, err := p.hides(c, reader)
	if err != nil {
		return 0, err
	}
	last := u.lastReadAt
	if hidden {
		p.keepShown(c, reader)
	} else {
		_, last = u.shown()
		p.showAll(c, reader)
	}
	before := u.watermark
	u.watermark, u.base, u.lastReadAt = to, c.sent-c.silent-unread, p.lastRead(last, ago) // 5
	p.unmark(c, reader)
	p.passAlone(c, reader)
	p.changes.touchMember(c, reader)
	p.tellOwn(c, reader, events.ConversationRead, "", u.lastReadAt)
	outcome := events.OutcomeApplied
	if hidden {
		outcome = events.OutcomeHidden
	}
	if c.group() {
		return outcome, nil
	}
	reads, err := p.readChat(c, reader, before, to, hidden, ago)
	if err != nil || reads == 0 { // what reads nothing, or is hidden, is nothing to tell
		return outcome, err
	}
	return outcome, p.tellChat(c, reader)
}

// lastRead is when a member has read last, who had last read at a time and now reads again, so
// long ago.
func (p *Partition) lastRead(last, ago int64) int64 {
	now := p.position.clock.now
	if ago == 0 {
		return now
	}
	return max(now-ago, min(last, now))
}

// tellChat tells the other side of a single chat that it was read.
func (p *Partition) tellChat(c *conversation, reader uint32) error {
	if p.scratch.imported {
		return nil
	}
	if err := p.summarizeChat(c, reader); err != nil || p.taps.online == nil {
		return err
	}
	return p.tellConversation(c, reader)
}

// unreadBeyond counts the messages after a seq that others than the reader sent and that are not
// recalled.
func (p *Partition) unreadBeyond(c *conversation, reader uint32, seq uint64) (n uint64, err error) {
	if seq == c.sent {
		return 0, nil
	}
	list, err := p.unreadAfter(c, seq)
	if err != nil {
		return 0, err
	}
	for _, x := range list {
		if x.value.isUnread(x.n, reader, &c.members[reader]) {
			n++
		}
	}
	if seq < c.unlisted {
		// It is not known who sent those before: no more than what was unread.
		u := &c.members[reader]
		n = min(n+c.unlisted-seq, c.unreadBy(u))
	}
	return n, nil
}

// readChat marks as read what the peer sent in a single chat and the reader had not read, and
// returns how many messages that is; none if they are hidden. Messages up to the reader's watermark
// before need no look.
func (p *Partition) readChat(c *conversation, reader uint32, before, to uint64, hidden bool, ago int64) (reads int, err error) {
	unread, err := p.unreadAfter(c, before)
	if err != nil {
		return 0, err
	}
	for _, x := range unread {
		if x.value.sender == reader {
			continue
		}
		if x.n > to {
			break
		}
		p.dropUnread(c, x.n)
		m, err := p.message(c, x.value.id)
		if err != nil {
			return reads, err
		}
		if m == nil {
			return reads, errCorrupt
		}
		if m.recalled() || m.hasRead(reader) || c.app.singleValidity > 0 && p.position.clock.age(m.sentAt)-ago > c.app.singleValidity {
			continue
		}
		if hidden {
			p.hideReader(m, reader)
			continue
		}
		if err := p.addReader(m, reader, p.readAt(m, ago), ""); err != nil {
			return reads, err
		}
		reads++
		p.changes.touchMessage(m)
		if p.taps.trackFacts {
			p.addFact(events.MessageRead, m, c.members[reader].user, "")
		}
	}
	return reads, nil
}
