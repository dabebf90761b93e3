package history

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

// kinds says how often each kind is tried. The first is none at all, for shrinking.
var kinds = weighted([]weight{
	{events.KindUnknown, 1},
	{events.StatisticSeen, 6},
	{events.ConversationRead, 8},
	{events.GroupDissolved, 1},
	{events.MessageRecalled, 5},
	{events.GroupJoined, 7},
	{events.GroupLeft, 5},
	{events.GroupCreated, 3},
	{events.GroupRole, 3},
	{events.AppConfigured, 3},
	{events.UserConfigured, 3},
	{events.ConversationMarkedUnread, 3},
	{events.MessageDelivered, 10},
	{events.MessageSent, 26},
	{events.MessageRead, 40},
})

type weight struct {
	kind  events.Kind
	times int
}

func weighted(weights []weight) (list []events.Kind) {
	for _, w := range weights {
		for range w.times {
			list = append(list, w.kind)
		}
	}
	return list
}

// step adds an event, in the open entry or in the next.
func (w *world) step(t *rapid.T) events.Kind {
	kind := kinds[pick(t, len(kinds))]
	if kind == events.KindUnknown {
		return kind
	}
	if seldom(t, w.coarse) {
		w.nextEntry(t)
	}
	app := worldApps[0]
	if _, configured := w.settings[worldApps[1]]; seldom(t, 2) && (configured || seldom(t, 2)) {
		app = worldApps[1]
	}
	if seldom(t, 3) || w.chatty && seldom(t, 3) {
		return w.retry(t)
	}
	if w.chatty && often(t, 2) {
		return w.chat(t, app)
	}
	if w.devices > 0 && seldom(t, 4) {
		kind = events.StatisticSeen
	}
	switch kind {
	case events.AppConfigured:
		w.configure(t, app)
	case events.GroupCreated:
		w.create(t, app, worldGroups[pick(t, len(worldGroups))])
	case events.GroupJoined, events.GroupLeft, events.GroupRole, events.GroupDissolved:
		w.change(t, kind, app)
	case events.MessageSent:
		w.send(t, app)
	case events.ConversationRead, events.ConversationMarkedUnread:
		w.readAll(t, kind, app)
	case events.UserConfigured:
		w.wish(t, app)
	case events.StatisticSeen:
		w.see(t, app)
	default:
		w.aim(t, kind, app)
	}
	return kind
}

// group is mostly one that was created.
func (w *world) group(t *rapid.T, app string) string {
	if known := w.groups[app]; len(known) > 0 && often(t, 5) {
		return known[pick(t, len(known))]
	}
	return worldGroups[pick(t, len(worldGroups))]
}

func (w *world) user(t *rapid.T) string { return worldUsers[pick(t, len(worldUsers))] }

// member is mostly one of the group.
func (w *world) member(t *rapid.T, app, group string) string {
	if members := w.members[events.Conversation{App: app, Group: group}]; len(members) > 0 && often(t, 3) {
		return members[pick(t, len(members))]
	}
	return w.user(t)
}

// peer is another user, mostly the neighbour, so that few single chats have many messages.
func (w *world) peer(t *rapid.T, user string) string {
	i := slices.Index(worldUsers[:], user)
	step := 1 + i%2*(len(worldUsers)-2) // even ones up, odd ones down
	if seldom(t, 2) {
		step = 1 + pick(t, len(worldUsers)-1)
	}
	return worldUsers[(i+step)%len(worldUsers)]
}

func (w *world) configure(t *rapid.T, app string) {
	s := events.DefaultSettings()
	s.DeliveryReceipts = often(t, 3)
	s.GroupReceipts.Enabled = often(t, 3)
	if seldom(t, 2) {
		s.GroupReceipts.WhoMayRequest = events.WhoAdmins
	}
	s.GroupReceipts.Validity = w.validity(t)
	s.SingleReceipts.Validity = w.validity(t)
	s.GroupReceipts.MaxGroupSize = [...]int{200, 200, 0, 4, 200, 3}[pick(t, 6)]
	if often(t, 1) {
		s.GroupReceipts.AboveLimit = events.AboveLimitCounts
		s.GroupReceipts.MaxGroupSize = [...]int{2, 3, 2, 4}[pick(t, 4)]
	}
	if often(t, 1) {
		s.ReceiptTime = events.ReceiptTimeReported
		s.MaxReportAge = events.Duration([...]time.Duration{0, time.Minute, time.Hour}[pick(t, 3)])
	}
	s.GroupReceipts.MaxRequestsPerGroupPerDay = [...]int{0, 0, 2, 0, 1, 1}[pick(t, 6)]
	if seldom(t, 1) {
		s.UnreadBy = events.UnreadByMessage
	}
	if seldom(t, 2) {
		s.ReadReceipts = events.ReadReceipts(pick(t, 3))
	}
	s.Reciprocal = seldom(t, 2)
	if often(t, 1) {
		s.Alerts = w.rules(t)
	}
	revision := w.revision[app] + 1
	if seldom(t, 2) {
		revision = 1 + uint64(pick(t, 6))
	}
	if revision > w.revision[app] {
		w.revision[app], w.settings[app] = revision, s
	}
	w.add(t, events.Event{App: app, Kind: events.AppConfigured, Settings: &s, Revision: revision})
}

// rules are alert rules of every kind, some of which nearly every hour breaks.
func (w *world) rules(t *rapid.T) (rules []events.AlertRule) {
	for i := range 1 + pick(t, 3) {
		r := events.AlertRule{
			Name: fmt.Sprint("r", (i+pick(t, 2))%4), By: events.AlertBy(pick(t, 3)),
			After: events.Duration(time.Hour) * events.Duration([...]int{1, 2, 24, 168}[pick(t, 4)]),
		}
		if slices.ContainsFunc(rules, func(o events.AlertRule) bool { return o.Name == r.Name }) {
			continue
		}
		switch r.By {
		case events.AlertByGroup:
			r.ID = [...]string{"", "", worldGroups[0]}[pick(t, 3)]
		case events.AlertBySender:
			r.ID = w.user(t)
		case events.AlertByLabel:
			r.ID = worldLabels[pick(t, len(worldLabels))]
		}
		if often(t, 1) {
			r.ReadBelow = [...]int{100, 50, 1, 34}[pick(t, 4)]
		} else {
			r.MedianAbove = events.Duration([...]time.Duration{100 * time.Millisecond, time.Second, time.Hour}[pick(t, 3)])
		}
		r.MinRecipients = [...]int{0, 0, 2, 3}[pick(t, 4)]
		rules = append(rules, r)
	}
	return rules
}

func (w *world) validity(t *rapid.T) events.Duration {
	return events.Duration([...]time.Duration{72 * time.Hour, time.Second, 0, time.Minute}[pick(t, 4)])
}

func (w *world) create(t *rapid.T, app, group string) {
	ev := events.Event{App: app, Kind: events.GroupCreated, Group: group, User: w.user(t)}
	for range 1 + pick(t, 4) {
		ev.Members = append(ev.Members, w.user(t))
	}
	for range pick(t, 3) {
		ev.Admins = append(ev.Admins, w.user(t))
	}
	w.add(t, ev)
	if name := conversationOf(&ev); w.members[name] == nil {
		w.groups[app] = append(w.groups[app], group)
		w.members[name] = slices.Concat([]string{ev.User}, ev.Admins, ev.Members)
	}
}

func (w *world) change(t *rapid.T, kind events.Kind, app string) {
	ev := events.Event{App: app, Kind: kind, Group: w.group(t, app)}
	name := conversationOf(&ev)
	switch kind {
	case events.GroupJoined:
		ev.User = w.user(t)
		w.members[name] = append(w.members[name], ev.User)
	case events.GroupLeft:
		ev.User = w.member(t, app, ev.Group)
		w.members[name] = slices.DeleteFunc(w.members[name], func(u string) bool { return u == ev.User })
	case events.GroupRole:
		ev.User = w.member(t, app, ev.Group)
		ev.Role = events.RoleAdmin
		if seldom(t, 1) {
			ev.Role = events.RoleMember
		}
		if seldom(t, 2) {
			ev.Role = events.RoleOwner
		}
	case events.GroupDissolved:
		w.groups[app] = slices.DeleteFunc(w.groups[app], func(g string) bool { return g == ev.Group })
	}
	w.add(t, ev)
}

// worldLabels are more than [SmallLimits] allows.
var worldLabels = []string{"spring", "summer", "autumn"}

// send sends a message.
func (w *world) send(t *rapid.T, app string) {
	ev := events.Event{App: app, Kind: events.MessageSent, User: w.user(t)}
	if seldom(t, 2) || len(w.groups[app]) == 0 && seldom(t, 1) {
		ev.Peer = w.peer(t, ev.User)
	} else {
		ev.Group = w.group(t, app)
		ev.User = w.member(t, app, ev.Group)
		if members := w.members[conversationOf(&ev)]; len(members) > 0 && seldom(t, 1) {
			ev.User = members[0] // somebody who sends much, for long summaries
		}
		ev.Receipt = often(t, 3)
	}
	ev.Silent = seldom(t, 2)
	if seldom(t, 2) {
		ev.Label = worldLabels[pick(t, len(worldLabels))]
	}
	w.number(t, ev)
}

// wishes are what users want of deliveries: there are few, so more are hidden.
var wishes = [...]events.Choice{events.ChoiceNone, events.ChoiceHide, events.ChoiceSend, events.ChoiceHide}

// wish has a user set what is told of their receipts: somebody who is written to, as a rule, and
// mostly in a conversation where they are.
func (w *world) wish(t *rapid.T, app string) {
	ev := events.Event{
		App: app, Kind: events.UserConfigured, User: w.user(t),
		SendReads: events.Choice(pick(t, 3)), SendDeliveries: wishes[pick(t, 4)], Revision: uint64(1 + pick(t, 12)),
	}
	if m := w.target(t, ev.Kind); m != nil && often(t, 2) {
		ev.App, ev.Group = m.App, m.Group
		w.side(t, &ev, m)
	}
	if seldom(t, 1) {
		ev.Group, ev.Peer = "", ""
	}
	w.add(t, ev)
}

// number adds a message with an id, mostly the next of its conversation, else one that may be
// taken.
func (w *world) number(t *rapid.T, ev events.Event) {
	c := conversationOf(&ev)
	if often(t, 3) {
		w.numbers[c]++
		ev.Message = messageID(w.numbers[c])
	} else {
		ev.Message = messageID(1 + pick(t, manyIDs))
	}
	w.add(t, ev)
	if ev.Peer != "" || slices.Contains(w.members[c], ev.User) {
		w.sent = append(w.sent, sentMessage{ev, w.clock})
	}
}

func messageID(n int) string { return fmt.Sprint("m", (n-1)%manyIDs+1) }

// aim makes a receipt or a recall, mostly for a message that was sent.
func (w *world) aim(t *rapid.T, kind events.Kind, app string) {
	var ev events.Event
	if m := w.target(t, kind); m != nil && often(t, 3) {
		ev = events.Event{App: m.App, Kind: kind, Group: m.Group, Message: m.Message}
		w.side(t, &ev, m)
		if kind != events.MessageRecalled {
			w.told = author{m.App, m.User}
		}
	} else {
		ev = w.unsent(t, kind, app)
	}
	ev.Strict = seldom(t, 4) || kind == events.MessageRecalled && seldom(t, 2)
	if kind == events.MessageRead && seldom(t, 2) {
		ev.Content = fmt.Sprint("content ", pick(t, 3))
	}
	w.report(t, &ev)
	w.add(t, ev)
}

// report gives an event a time now and then: recently, too long ago for some settings, or not yet.
func (w *world) report(t *rapid.T, ev *events.Event) {
	if seldom(t, 2) {
		ev.Time = w.clock - [...]int64{1, 10, 100}[pick(t, 3)]*1000*int64(pick(t, 10)-1)
	}
}

// target is a message that was sent, a late one rather than an early one; nil if there is none for
// the kind.
func (w *world) target(t *rapid.T, kind events.Kind) *events.Event {
	if len(w.sent) == 0 {
		return nil
	}
	for i := len(w.sent) - 1 - pick(t, min(len(w.sent), 5)); i >= 0; i-- {
		if m := &w.sent[i].ev; kind != events.MessageDelivered || m.Peer != "" {
			return m
		}
	}
	return nil
}

// side fills in who acts on the message: anybody in a group, mostly the receiver in a single chat,
// mostly the sender for a recall.
func (w *world) side(t *rapid.T, ev *events.Event, m *events.Event) {
	bySender := seldom(t, 3)
	if ev.Kind == events.MessageRecalled {
		bySender = seldom(t, 1)
	}
	switch {
	case ev.Group != "" && ev.Kind == events.MessageRecalled && bySender:
		ev.User = m.User
	case ev.Group != "":
		if ev.User = w.member(t, ev.App, ev.Group); ev.User == m.User && often(t, 2) {
			ev.User = w.member(t, ev.App, ev.Group)
		}
	case bySender:
		ev.User, ev.Peer = m.User, m.Peer
	default:
		ev.User, ev.Peer = m.Peer, m.User
	}
}

// unsent makes an event about a message that is likely to be sent next in its conversation.
func (w *world) unsent(t *rapid.T, kind events.Kind, app string) events.Event {
	ev := events.Event{App: app, Kind: kind, User: w.user(t)}
	if kind == events.MessageDelivered || seldom(t, 2) {
		ev.Peer = w.peer(t, ev.User)
	} else {
		ev.Group = w.group(t, app)
		ev.User = w.member(t, app, ev.Group)
	}
	ev.Message = messageID(w.numbers[conversationOf(&ev)] + 1 + pick(t, 2))
	w.early = append(w.early, w.clock)
	return ev
}

// readAll has somebody read a conversation, or mark it.
func (w *world) readAll(t *rapid.T, kind events.Kind, app string) {
	ev := events.Event{App: app, Kind: kind}
	if m := w.target(t, ev.Kind); m != nil && often(t, 3) {
		ev.App, ev.Group = m.App, m.Group
		if w.side(t, &ev, m); ev.Peer != "" {
			w.told = author{ev.App, ev.Peer}
		}
	} else if ev.User = w.user(t); seldom(t, 1) {
		ev.Peer = w.peer(t, ev.User)
	} else {
		ev.Group = w.group(t, app)
	}
	if kind == events.ConversationRead && !seldom(t, 1) { // up to a message, sent or to be sent
		ev.Message = messageID(max(1, w.numbers[conversationOf(&ev)]+1-pick(t, 5)))
		ev.Strict = seldom(t, 4)
		if w.numbers[conversationOf(&ev)] == 0 {
			w.early = append(w.early, w.clock)
		}
	}
	w.report(t, &ev)
	w.add(t, ev)
}

// see makes the author who was sent the last receipt, or anybody, acknowledge their summary up to a
// late entry.
func (w *world) see(t *rapid.T, app string) {
	ev := events.Event{App: app, Kind: events.StatisticSeen, User: w.user(t)}
	switch {
	case w.devices > 0 && seldom(t, 1): // whose devices are many
		ev.App, ev.User = worldApps[0], worldUsers[0]
	case w.told.user != "" && often(t, 3):
		ev.App, ev.User = w.told.app, w.told.user
	}
	w.seen(t, &ev)
	w.add(t, ev)
}

// seen says up to where, and on which device if users have any; now and then the device only shows
// itself.
func (w *world) seen(t *rapid.T, ev *events.Event) {
	ev.Upto = w.upto(t)
	if w.devices == 0 || seldom(t, 3) {
		return
	}
	ev.Device = worldDevices[pick(t, w.devices)]
	w.deviceAt = append(w.deviceAt, w.clock)
	if seldom(t, 2) {
		ev.Upto = 0
	}
}

func (w *world) upto(t *rapid.T) uint64 {
	upto := max(1, w.sequence()-min(w.sequence(), uint64(pick(t, 4))))
	if seldom(t, 3) {
		upto += 1000
	}
	return upto
}

// chat goes on between one author and two others: what the author has seen is soon received or read
// again, while another of their items is still there.
func (w *world) chat(t *rapid.T, app string) events.Kind {
	author, peer := worldUsers[0], worldUsers[1+pick(t, 2)]
	ev := events.Event{App: app, User: peer, Peer: author}
	switch pick(t, 5) {
	case 4: // hides, or stops hiding
		ev.Kind, ev.Revision = events.UserConfigured, uint64(1+pick(t, 12))
		ev.SendReads, ev.SendDeliveries = events.Choice(pick(t, 3)), wishes[pick(t, 4)]
		if seldom(t, 1) {
			ev.Peer = ""
		}
	case 0:
		ev.Kind, ev.User, ev.Peer = events.MessageSent, author, peer
		ev.Silent = seldom(t, 1)
		w.number(t, ev)
		return ev.Kind
	case 1:
		ev.Kind = events.ConversationRead
		if seldom(t, 2) {
			ev.Message = messageID(max(1, w.numbers[conversationOf(&ev)]+1-pick(t, 3)))
		}
	case 2:
		ev.Kind, ev.User, ev.Peer = events.StatisticSeen, author, ""
		w.seen(t, &ev)
	default:
		ev.Kind = [...]events.Kind{events.MessageDelivered, events.MessageRead, events.MessageDelivered}[pick(t, 3)]
		ev.Message = messageID(max(1, w.numbers[conversationOf(&ev)]-pick(t, 3)))
	}
	w.add(t, ev)
	return ev.Kind
}

// conversationOf names the conversation of an event; the users of a single chat are in order.
func conversationOf(ev *events.Event) events.Conversation {
	if ev.Group != "" || ev.Peer == "" {
		return events.Conversation{App: ev.App, Group: ev.Group}
	}
	return events.Conversation{App: ev.App, A: min(ev.User, ev.Peer), B: max(ev.User, ev.Peer)}
}
