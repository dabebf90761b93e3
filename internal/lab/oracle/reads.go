package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
)

// conversation.read
func (m *Model) conversationRead(a *app, ev events.Event, at position) events.Outcome {
	c := a.conversations[conversationOf(ev)]
	to, known := 0, c != nil // known: there is something to read to
	switch {
	case c != nil && ev.Message == "":
		to = c.sent
	case c != nil && c.byID[ev.Message] != nil:
		to = c.byID[ev.Message].seq
	default:
		known = false
	}
	var u *member
	if c != nil {
		u = c.member(ev.User)
	}
	current := u != nil && u.current()
	if known && current && u.watermark >= to { // 1
		if u.marked && to == c.sent && !c.dissolved {
			u.marked = false
			return events.OutcomeApplied
		}
		return events.OutcomeDuplicate
	}
	if c != nil && c.dissolved { // 2
		return events.RejectedNoGroup
	}
	if c != nil && !current {
		return events.RejectedNotMember
	}
	if ev.Message == "" && c == nil { // 3
		if ev.Group != "" {
			return events.RejectedNoGroup
		}
		return events.OutcomeDuplicate
	}
	if !known { // 4
		if ev.Strict {
			return notFound(ev)
		}
		return m.park(a, ev, at)
	}
	before := u.watermark // 5
	hidden, _ := a.hides(c, u.user)
	u.stays = hidden
	u.moveWatermark(to)
	u.marked = false
	r := m.timeOfReading(a, ev)
	if hidden {
		u.lastReadAt = m.becomes(u.lastReadAt, r)
	} else {
		u.shownLastReadAt = m.becomes(u.shownLastReadAt, r)
		u.lastReadAt = u.shownLastReadAt
	}
	reads := 0
	for _, msg := range c.messages {
		switch {
		case ev.Group != "" || msg.from == u.user || msg.recalled || msg.seq <= before || msg.seq > to:
		case msg.readBy(u.user) || slices.Contains(msg.hiddenReads, u.user) || m.tooLate(a, msg, r):
		case hidden:
			msg.hiddenReads = append(msg.hiddenReads, u.user)
		default:
			m.read(msg, u.user, "", r)
			reads++
		}
	}
	if ev.Group == "" && reads > 0 {
		m.summarize(a, c.peerOf(u.user), item{chat: c})
	}
	if hidden {
		return events.OutcomeHidden
	}
	return events.OutcomeApplied
}

// Reads and unread: a message that was read alone.
func (m *Model) countAlone(a *app, c *conversation, u *member, msg *message, hidden bool, r int64) {
	if a.settings.UnreadBy != events.UnreadByMessage {
		return
	}
	u.lastReadAt = m.becomes(u.lastReadAt, r)
	if hidden {
		u.stays = true
	} else {
		u.shownLastReadAt = m.becomes(u.shownLastReadAt, r)
	}
	if msg.seq <= u.watermark || len(u.alone) >= m.limits.MaxReadsAhead {
		return
	}
	u.alone = append(u.alone, msg.seq)
	to := c.sent
	for _, x := range c.messages {
		if x.seq <= u.watermark || x.from == u.user || x.recalled || slices.Contains(u.alone, x.seq) || x.silent && c.name.Group != "" {
			continue
		}
		to = x.seq - 1
		break
	}
	u.moveWatermark(to)
}

// becomes is what last_read_at is after a read at R.
func (m *Model) becomes(was, r int64) int64 {
	if r >= m.time.t {
		return r
	}
	return max(r, min(was, m.time.t))
}

// moveWatermark is what every move of a watermark does.
func (u *member) moveWatermark(to int) {
	u.watermark = to
	if !u.stays {
		u.shownWatermark = to
	}
	u.alone = slices.DeleteFunc(u.alone, func(seq int) bool { return seq <= to })
}

// isUnread reports whether a message of the conversation is unread to a current member.
func (u *member) isUnread(msg *message) bool {
	return msg.from != u.user && msg.seq > u.watermark && !msg.silent && !msg.recalled && !slices.Contains(u.alone, msg.seq)
}

// unreadOf are the messages that are unread to a current member, oldest first.
func (c *conversation) unreadOf(u *member) (list []*message) {
	for _, msg := range c.messages {
		if u.isUnread(msg) {
			list = append(list, msg)
		}
	}
	return list
}

// conversation.marked_unread
func (a *app) markedUnread(ev events.Event) events.Outcome {
	u, refused := a.memberOf(ev)
	if u == nil {
		return refused
	}
	if u.marked {
		return events.OutcomeDuplicate
	}
	u.marked = true
	return events.OutcomeApplied
}

// memberOf is the current member whom an event about a conversation that is there concerns, or why
// there is none.
func (a *app) memberOf(ev events.Event) (*member, events.Outcome) {
	c := a.conversations[conversationOf(ev)]
	switch {
	case c == nil && ev.Peer != "":
		return nil, events.RejectedNoMessage
	case c == nil || c.dissolved:
		return nil, events.RejectedNoGroup
	}
	if u := c.member(ev.User); u != nil && u.current() {
		return u, events.OutcomeApplied
	}
	return nil, events.RejectedNotMember
}
