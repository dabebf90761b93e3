package history

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

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
		ev.SendReads, ev.SendDeliveries = events.Choice(pick(t, 3)), deliveryChoices[pick(t, 4)]
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
