package oracle

import (
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
)

// message.sent
func (m *Model) messageSent(a *app, ev events.Event) events.Outcome {
	c := a.conversations[conversationOf(ev)]
	var old *message
	if c != nil {
		old = c.byID[ev.Message]
	}
	if old != nil && old.from == ev.User { // 1
		return events.OutcomeDuplicate
	}
	if ev.Group != "" && (c == nil || c.dissolved) { // 2
		return events.RejectedNoGroup
	}
	if old != nil {
		return events.RejectedMessageExists
	}
	if c == nil {
		c = newSingleChat(ev)
	}
	if ev.Group != "" {
		sender := c.member(ev.User)
		if sender == nil || !sender.current() { // 3
			return events.RejectedNotMember
		}
		if ev.Receipt { // 4
			limits := a.settings.GroupReceipts
			if !limits.Enabled {
				return events.RejectedNotOpen
			}
			if limits.WhoMayRequest == events.WhoAdmins && sender.role == events.RoleMember {
				return events.RejectedPermission
			}
			size := 0
			for _, u := range c.members {
				if u.current() {
					size++
				}
			}
			collects := limits.MaxGroupSize == 0 || size <= limits.MaxGroupSize || limits.AboveLimit == events.AboveLimitCounts
			if limits.MaxRequestsPerGroupPerDay != 0 && collects && m.collectedToday(c) >= limits.MaxRequestsPerGroupPerDay {
				return events.RejectedDailyLimit
			}
		}
	}
	m.send(a, c, ev) // 5
	return events.OutcomeApplied
}

// collectedToday counts the group's messages that collect receipts, of the UTC day, since
// one of another.
func (m *Model) collectedToday(g *conversation) int {
	n := 0
	for _, msg := range slices.Backward(g.messages) {
		if !msg.collects() {
			continue
		}
		if day(msg.sentAt) != day(m.moment) {
			break
		}
		n++
	}
	return n
}

func day(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

// send is "what applied does".
func (m *Model) send(a *app, c *conversation, ev events.Event) {
	a.conversations[c.name] = c
	c.sent++
	msg := &message{
		id: ev.Message, from: ev.User, conversation: c, seq: c.sent, sentAt: m.moment, asked: ev.Receipt, silent: ev.Silent,
	}
	if ev.Label != "" && !slices.Contains(a.labels, ev.Label) && len(a.labels) < m.limits.MaxLabels {
		a.labels = append(a.labels, ev.Label)
	}
	if slices.Contains(a.labels, ev.Label) {
		msg.label = ev.Label
	}
	c.messages = append(c.messages, msg)
	c.byID[msg.id] = msg
	var others []string
	for _, u := range c.members {
		if u.current() && u.user != msg.from {
			others = append(others, u.user)
		}
	}
	size, limit := len(others)+1, a.settings.GroupReceipts.MaxGroupSize
	switch {
	case ev.Group == "":
		msg.kind = tracked
	case !ev.Receipt:
		msg.kind = plain
	case limit == 0 || size <= limit:
		msg.kind = tracked
	case a.settings.GroupReceipts.AboveLimit == events.AboveLimitCounts:
		msg.kind = counted
	default:
		msg.kind = oversize
	}
	if msg.collects() {
		msg.eligible = others
	}

	// Then everything that is parked for it.
	var mine, rest []parked
	for _, p := range a.parked {
		if conversationOf(p.event) == c.name && p.event.Message == msg.id {
			mine = append(mine, p)
		} else {
			rest = append(rest, p)
		}
	}
	a.parked = rest
	for _, p := range mine {
		var outcome events.Outcome
		switch p.event.Kind {
		case events.MessageRecalled:
			outcome = m.messageRecalled(a, p.event, p.at)
		case events.ConversationRead:
			outcome = m.conversationRead(a, now(p.event), p.at)
		default:
			outcome = m.receipt(a, now(p.event), p.at)
		}
		if outcome.Rejected() {
			m.reject(a, p.event, p.at, outcome)
		}
	}
}

// message.recalled
func (m *Model) messageRecalled(a *app, ev events.Event, at position) events.Outcome {
	c := a.conversations[conversationOf(ev)]
	var msg *message
	var u *member
	if c != nil {
		msg, u = c.byID[ev.Message], c.member(ev.User)
	}
	may := msg != nil && msg.from == ev.User ||
		ev.Group != "" && u != nil && (u.role == events.RoleOwner || u.role == events.RoleAdmin)
	if msg != nil && msg.recalled && may { // 1
		return events.OutcomeDuplicate
	}
	if c != nil && c.dissolved { // 2
		return events.RejectedNoGroup
	}
	if msg == nil { // 3
		if c != nil && (u == nil || !u.current()) {
			return events.RejectedNotAllowed
		}
		if ev.Strict {
			return events.RejectedNoMessage
		}
		return m.park(a, ev, at)
	}
	if !may { // 4
		return events.RejectedNotAllowed
	}
	msg.recalled = true // 5
	msg.readers, msg.eligible, msg.delivered, msg.deliveredAt = nil, nil, false, 0
	msg.hiddenReads, msg.hiddenArrival = nil, false
	a.removeItems(msg.from, func(x *item) bool { return x.message == msg })
	return events.OutcomeApplied
}
