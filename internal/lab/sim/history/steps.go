package history

import (
	"fmt"
	"slices"

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
		w.configureUser(t, app)
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

// conversationOf names the conversation of an event; the users of a single chat are in order.
func conversationOf(ev *events.Event) events.Conversation {
	if ev.Group != "" || ev.Peer == "" {
		return events.Conversation{App: ev.App, Group: ev.Group}
	}
	return events.Conversation{App: ev.App, A: min(ev.User, ev.Peer), B: max(ev.User, ev.Peer)}
}
