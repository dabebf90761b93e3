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

// becomes is what last_read_at is after a read at R.
func (m *Model) becomes(was, r int64) int64 {
	if r >= m.time.t {
		return r
	}
	return max(r, min(was, m.time.t))
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

// Who hides what
func (a *app) hides(c *conversation, user string) (reads, deliveries bool) {
	if a.settings.ReadReceipts == events.ReadReceiptsAlways {
		return false, false
	}
	here, everywhere := c.member(user).wish, a.wishes[user]
	says := func(first, second events.Choice) bool {
		if first == events.ChoiceNone {
			first = second
		}
		return first == events.ChoiceHide
	}
	reads = says(here.reads, everywhere.reads) || a.settings.ReadReceipts == events.ReadReceiptsNever
	return reads, says(here.deliveries, everywhere.deliveries)
}

// user.configured
func (a *app) userConfigured(ev events.Event) events.Outcome {
	w := wish{ev.SendReads, ev.SendDeliveries, ev.Revision}
	if ev.Group == "" && ev.Peer == "" {
		if w.revision <= a.wishes[ev.User].revision {
			return events.OutcomeDuplicate
		}
		a.wishes[ev.User] = w
		return events.OutcomeApplied
	}
	u, refused := a.memberOf(ev)
	if u == nil {
		return refused
	}
	if w.revision <= u.wish.revision {
		return events.OutcomeDuplicate
	}
	u.wish = w
	return events.OutcomeApplied
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

// summaryOf is an author's summary.
func (a *app) summaryOf(author string) *summary {
	if a.summaries[author] == nil {
		a.summaries[author] = &summary{}
	}
	return a.summaries[author]
}

// The summary: what becomes an item goes to the end of the list, or keeps its place.
func (m *Model) summarize(a *app, author string, it item) {
	if m.quiet {
		return
	}
	s := a.summaryOf(author)
	it.lastEntry = m.sequence
	for i, x := range s.items {
		if x.message != it.message || x.chat != it.chat {
			continue
		}
		if s.put-x.number < m.limits.MaxSummaryItems/2 && x.lastEntry > s.author.seen {
			x.lastEntry = m.sequence
			return
		}
		s.items = slices.Delete(s.items, i, i+1)
		break
	}
	s.put++
	it.number = s.put
	s.items = append(s.items, &it)
	if len(s.items) > m.limits.MaxSummaryItems {
		for _, w := range append(slices.Clone(s.devices), &s.author) {
			if s.items[0].lastEntry > w.seen {
				w.dropped++
				w.lastDropped = m.sequence
			}
		}
		s.items = s.items[1:]
	}
}

// removeItems removes an author's items that fit and reports whether there were any.
func (a *app) removeItems(author string, fits func(*item) bool) bool {
	s := a.summaryOf(author)
	before := len(s.items)
	s.items = slices.DeleteFunc(s.items, fits)
	return len(s.items) < before
}

// The summary: statistic.seen
func (m *Model) statisticSeen(a *app, ev events.Event) events.Outcome {
	s := a.summaryOf(ev.User)
	if ev.Device != "" {
		m.seenOn(a, s, ev)
		return events.OutcomeApplied
	}
	outcome := events.OutcomeDuplicate
	if a.removeItems(ev.User, func(x *item) bool { return x.lastEntry <= ev.Upto }) {
		outcome = events.OutcomeApplied
	}
	for _, w := range append(slices.Clone(s.devices), &s.author) {
		if w.acknowledgeDropped(ev.Upto) {
			outcome = events.OutcomeApplied
		}
	}
	return outcome
}

func (w *witness) acknowledgeDropped(upto uint64) bool {
	if w.dropped == 0 || w.lastDropped > upto {
		return false
	}
	w.dropped = 0
	return true
}

// Devices
func (m *Model) seenOn(a *app, s *summary, ev events.Event) {
	s.devices = slices.DeleteFunc(s.devices, func(w *witness) bool {
		w.named = min(w.named, m.time.t)
		return w.device != ev.Device && m.time.t-w.named > events.DeviceFor.Milliseconds()
	})
	d := s.device(ev.Device)
	if d == nil {
		d = new(witness)
		*d = s.author
		d.device = ev.Device
	} else {
		s.devices = slices.DeleteFunc(s.devices, func(w *witness) bool { return w == d })
	}
	d.named = m.time.t
	s.devices = append(s.devices, d)
	if len(s.devices) > m.limits.MaxDevices {
		s.devices = s.devices[1:]
	}
	upto := min(ev.Upto, m.sequence-1)
	for _, w := range []*witness{d, &s.author} {
		w.seen = max(w.seen, upto)
		w.acknowledgeDropped(upto)
	}
	a.removeItems(ev.User, func(x *item) bool {
		return !slices.ContainsFunc(s.devices, func(w *witness) bool { return x.lastEntry > w.seen })
	})
}

// device is a known device, or nil.
func (s *summary) device(name string) *witness {
	for _, w := range s.devices {
		if w.device == name {
			return w
		}
	}
	return nil
}
