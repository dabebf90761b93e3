package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Receipts: message.delivered, message.read
func (m *Model) receipt(a *app, ev events.Event, at position) events.Outcome {
	isRead, inGroup := ev.Kind == events.MessageRead, ev.Group != ""
	if !isRead && !a.settings.DeliveryReceipts {
		return events.RejectedDeliveryOff
	}
	if isRead && inGroup && !a.settings.GroupReceipts.Enabled {
		return events.RejectedNotOpen
	}
	c := a.conversations[conversationOf(ev)]
	if c != nil && c.dissolved { // 1
		return events.RejectedNoGroup
	}
	var msg *message
	if c != nil {
		msg = c.byID[ev.Message]
	}
	if msg == nil { // 2
		if ev.Strict {
			return events.RejectedNotFound
		}
		return m.park(a, ev, at)
	}
	if msg.recalled { // 3
		return events.RejectedNotFound
	}
	if msg.from == ev.User { // 4
		return events.OutcomeDuplicate
	}
	if inGroup && msg.form == plain { // 5
		return events.RejectedNotFound
	}
	if inGroup && msg.form == oversize {
		return events.OutcomeDuplicate
	}
	if msg.readBy(ev.User) || !isRead && msg.delivered { // 6
		return events.OutcomeDuplicate
	}
	if inGroup {
		if u := c.member(ev.User); u == nil || !u.current() { // 7
			return events.RejectedNotMember
		}
		if !slices.Contains(msg.eligible, ev.User) { // 8
			return events.RejectedNotFound
		}
	}
	if m.past(a, msg) { // 9
		return events.RejectedNotFound
	}
	if isRead { // 10
		m.read(msg, ev.User, ev.Content)
	} else {
		msg.delivered, msg.deliveredAt = true, m.clock
	}
	m.makePending(a, msg.from, pending{message: msg})
	return events.OutcomeApplied
}

// past reports whether the validity of the message's receipts is over.
func (m *Model) past(a *app, msg *message) bool {
	validity := a.settings.SingleReceipts.Validity
	if msg.conversation.name.Group != "" {
		validity = a.settings.GroupReceipts.Validity
	}
	return validity != 0 && m.clock-msg.sentAt > validity.Milliseconds()
}

// read puts the user into the message's read set.
func (m *Model) read(msg *message, user, content string) {
	msg.readers = append(msg.readers, projections.Reader{User: user, ReadAt: m.clock, Content: content})
	msg.delivered = true // reading implies it
}

func (m *Model) park(a *app, ev events.Event, at position) events.Outcome {
	for _, p := range a.parked {
		if p.event.Kind == ev.Kind && conversationOf(p.event) == conversationOf(ev) &&
			p.event.Message == ev.Message && p.event.User == ev.User {
			return events.OutcomeDuplicate
		}
	}
	a.parked = append(a.parked, parked{event: ev, at: at, arrival: m.clock})
	if len(a.parked) > m.limits.MaxParked {
		m.giveUpOldest(a)
	}
	return events.OutcomeParked
}

func (m *Model) giveUpOldest(a *app) {
	oldest := a.parked[0]
	a.parked = a.parked[1:]
	m.reject(a, oldest.event, oldest.at, events.RejectedParkedExpired)
}

// conversation.read
func (m *Model) conversationRead(a *app, ev events.Event) events.Outcome {
	c := a.conversations[conversationOf(ev)]
	if ev.Group != "" {
		if c == nil || c.dissolved { // group 1
			return events.RejectedNoGroup
		}
		if u := c.member(ev.User); u == nil || !u.current() { // group 2
			return events.RejectedNotMember
		}
	} else if c == nil { // single chat 1
		return events.OutcomeDuplicate
	}
	u := c.member(ev.User)
	if u.watermark == c.sent { // group 3, single chat 2
		return events.OutcomeDuplicate
	}
	if ev.Group == "" { // single chat 3
		for _, msg := range c.messages {
			if msg.from != u.user && msg.seq > u.watermark && !msg.recalled && !msg.readBy(u.user) && !m.past(a, msg) {
				m.read(msg, u.user, "")
			}
		}
		m.makePending(a, c.peerOf(u.user), pending{chat: c})
	}
	u.unread, u.watermark, u.lastReadAt = 0, c.sent, m.clock // group 4
	return events.OutcomeApplied
}

// The statistic summary: what becomes pending goes to the end of the list, or keeps its place.
func (m *Model) makePending(a *app, author string, item pending) {
	item.lastEntry = m.sequence
	for _, p := range a.pending[author] {
		if p.message == item.message && p.chat == item.chat {
			*p = item
			return
		}
	}
	list := append(a.pending[author], &item)
	if len(list) > m.limits.MaxSummaryItems {
		list = list[1:]
	}
	a.pending[author] = list
}

// removePending removes an author's items that fit and reports whether there were any.
func (a *app) removePending(author string, fits func(*pending) bool) bool {
	before := len(a.pending[author])
	a.pending[author] = slices.DeleteFunc(a.pending[author], fits)
	return len(a.pending[author]) < before
}

// The statistic summary: statistic.seen
func (a *app) statisticSeen(ev events.Event) events.Outcome {
	if a.removePending(ev.User, func(p *pending) bool { return p.lastEntry <= ev.Upto }) {
		return events.OutcomeApplied
	}
	return events.OutcomeDuplicate
}
