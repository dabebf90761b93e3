package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Receipts: message.delivered, message.read
func (m *Model) receipt(a *app, ev events.Event, at position) events.Outcome {
	isRead, inGroup := ev.Kind == events.MessageRead, ev.Group != ""
	c := a.conversations[conversationOf(ev)]
	var msg *message
	if c != nil {
		msg = c.byID[ev.Message]
	}
	// Before the list, a repeat.
	if msg != nil && !msg.recalled && msg.from != ev.User {
		switch {
		case msg.readBy(ev.User),
			isRead && slices.Contains(msg.hiddenReads, ev.User),
			!isRead && (msg.delivered || msg.hiddenArrival):
			return events.OutcomeDuplicate
		}
	}
	if !isRead && !a.settings.DeliveryReceipts {
		return events.RejectedDeliveryOff
	}
	if isRead && inGroup && !a.settings.GroupReceipts.Enabled {
		return events.RejectedNotOpen
	}
	if c != nil && c.dissolved { // 1
		return events.RejectedNoGroup
	}
	if msg == nil { // 2
		if c != nil && inGroup {
			if u := c.member(ev.User); u == nil || !u.current() {
				return events.RejectedNotMember
			}
		}
		if ev.Strict {
			return notFound(ev)
		}
		return m.park(a, ev, at)
	}
	if msg.recalled { // 3
		return notFound(ev)
	}
	if msg.from == ev.User { // 4
		return events.OutcomeDuplicate
	}
	if inGroup && msg.kind == plain { // 5
		return events.RejectedNotFound
	}
	if inGroup && msg.kind == oversize {
		return events.OutcomeDuplicate
	}
	if inGroup {
		if u := c.member(ev.User); u == nil || !u.current() { // 6
			return events.RejectedNotMember
		}
		if !slices.Contains(msg.eligible, ev.User) { // 7
			return events.RejectedNotFound
		}
	}
	r := m.timeOfReading(a, ev)
	if m.tooLate(a, msg, r) { // 8
		return notFound(ev)
	}
	reads, deliveries := a.hides(c, ev.User) // 9
	if isRead {
		m.countAlone(a, c, c.member(ev.User), msg, reads, r)
	}
	switch {
	case isRead && reads:
		msg.hiddenReads = append(msg.hiddenReads, ev.User)
		return events.OutcomeHidden
	case !isRead && deliveries:
		msg.hiddenArrival = true
		return events.OutcomeHidden
	case isRead:
		m.read(msg, ev.User, ev.Content, r)
	default:
		msg.delivered, msg.deliveredAt = true, max(r, msg.sentAt)
	}
	m.summarize(a, msg.from, item{message: msg})
	return events.OutcomeApplied
}

func notFound(ev events.Event) events.Outcome {
	if ev.Group == "" {
		return events.RejectedNoMessage
	}
	return events.RejectedNotFound
}

// The time of reading: R.
func (m *Model) timeOfReading(a *app, ev events.Event) int64 {
	if ev.Imported || a.settings.ReceiptTime != events.ReceiptTimeReported || ev.Time == 0 || ev.Time >= m.time.t {
		return m.moment
	}
	longest := int64(24 * 60 * 60 * 1000)
	if set := a.settings.MaxReportAge; set != 0 {
		longest = set.Milliseconds()
	}
	return max(ev.Time, m.time.t-longest)
}

// now is what was parked, as it is decided.
func now(ev events.Event) events.Event {
	ev.Time, ev.Imported = 0, false
	return ev
}

// tooLate reports whether the validity of the message's receipts was over at R.
func (m *Model) tooLate(a *app, msg *message, r int64) bool {
	validity := a.settings.SingleReceipts.Validity
	if msg.conversation.name.Group != "" {
		validity = a.settings.GroupReceipts.Validity
	}
	return validity != 0 && m.time.age(msg.sentAt)-(m.time.t-r) > validity.Milliseconds()
}

// read puts the user into the message's read set.
func (m *Model) read(msg *message, user, content string, r int64) {
	at := max(r, msg.sentAt)
	if r == m.time.t {
		for _, other := range msg.readers {
			at = max(at, other.ReadAt)
		}
	}
	msg.readers = append(msg.readers, projections.Reader{User: user, ReadAt: at, Content: content})
	msg.delivered = true // reading implies it
}

func (m *Model) park(a *app, ev events.Event, at position) events.Outcome {
	for _, p := range a.parked {
		if p.event.Kind == ev.Kind && conversationOf(p.event) == conversationOf(ev) &&
			p.event.Message == ev.Message && p.event.User == ev.User {
			return events.OutcomeDuplicate
		}
	}
	a.parked = append(a.parked, parked{event: ev, at: at, arrival: m.time.t})
	if len(a.parked) > m.limits.MaxParked {
		m.expireOldest(a)
	}
	return events.OutcomeParked
}

func (m *Model) expireOldest(a *app) {
	oldest := a.parked[0]
	a.parked = a.parked[1:]
	outcome := events.RejectedNoneCame
	if ev := oldest.event; ev.Kind == events.MessageRead && ev.Group != "" {
		outcome = events.RejectedParkedExpired
	}
	m.reject(a, oldest.event, oldest.at, outcome)
}
