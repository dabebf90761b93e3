package history

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

// worldStart is shortly before midnight, so that logs cross the day of the daily limit.
var worldStart = time.Date(2024, time.March, 1, 23, 59, 30, 0, time.UTC).UnixMilli()

// What logs are made of. The front of a list is what rapid shrinks to.
var (
	worldApps   = [...]string{"o#a", "o#b"}
	worldGroups = [...]string{"g1", "g2", "g3"}
	worldUsers  = [...]string{"u1", "u2", "u3", "u4", "u5", "u6"}
	// Devices are more than [SmallLimits] let be known.
	worldDevices = [...]string{"d1", "d2", "d3", "d4", "d5"}
)

const (
	manyIDs = 8
	hour    = 3600 * 1000
)

// world is what the generator remembers of the log, to aim at what exists. It knows nothing of the
// rules: its groups, members and messages are what was tried, not what was applied.
type world struct {
	entries  Log
	coarse   int  // an entry ends after one of 2^coarse steps
	chatty   bool // one author's single chats are read again and again
	clock    int64
	right    int64 // what the clock was before it became wrong; 0 = it is right
	at       int64 // of the open entry
	revision map[string]uint64
	settings map[string]events.Settings
	groups   map[string][]string              // by app
	members  map[events.Conversation][]string // of groups
	sent     []sentMessage                    // by somebody who may have been allowed to
	told     author                           // who is told of the last receipt
	named    []namedEvent                     // those with an id
	names    int                              // event ids given
	early    []int64                          // times at which receipts came before their message
	numbers  map[events.Conversation]int
	devices  int     // how many each user has; 0 = nobody names any
	deviceAt []int64 // when devices were named
	past     int64   // the time that the last imported event stated; 0 = nothing is imported
}

// author is a user whose summary has items; the zero value is nobody.
type author struct{ app, user string }

type sentMessage struct {
	ev events.Event
	at int64
}

// namedEvent is an event with an id, and the clock when it was added.
type namedEvent struct {
	ev events.Event
	at int64
}

// pick draws a number below n, all of them about as often. rapid's own integers prefer small ones
// far too much for lists of weights, so it is made of coins; it still shrinks to 0.
func pick(t *rapid.T, n int) int {
	coins := bits.Len(uint(n-1)) + 2
	v := 0
	for range coins {
		v <<= 1
		if coin.Draw(t, "") {
			v++
		}
	}
	return v * n >> coins
}

var coin = rapid.Bool()

// seldom is true once in 2^n draws.
func seldom(t *rapid.T, n int) bool {
	for range n {
		if !coin.Draw(t, "") {
			return false
		}
	}
	return true
}

func often(t *rapid.T, n int) bool { return !seldom(t, n) }

func newWorld(t *rapid.T) *world {
	w := &world{
		clock:    worldStart,
		at:       worldStart,
		revision: map[string]uint64{},
		settings: map[string]events.Settings{},
		groups:   map[string][]string{},
		members:  map[events.Conversation][]string{},
		numbers:  map[events.Conversation]int{},
	}
	w.coarse = pick(t, 5)
	if w.chatty = seldom(t, 2); w.chatty {
		w.coarse = pick(t, 2) // what is seen up to an entry is little
	}
	if often(t, 1) {
		w.devices = 2 + pick(t, len(worldDevices)-1)
	}
	if seldom(t, 2) {
		w.past = worldStart - [...]int64{hour / 60, 2 * hour, 400 * 24 * hour}[pick(t, 3)]
	}
	w.open(uint64(1 + pick(t, 3)))
	// Nearly all logs begin with an app and a group, or little else would come of them.
	if often(t, 4) {
		w.configure(t, worldApps[0])
	}
	if often(t, 3) {
		w.create(t, worldApps[0], worldGroups[0])
	}
	if seldom(t, 1) {
		w.configure(t, worldApps[1])
		w.create(t, worldApps[1], worldGroups[0])
	}
	return w
}

func (w *world) open(sequence uint64) {
	if w.clock = max(w.clock, w.at); w.right != 0 && w.at < w.right+hour {
		w.clock, w.right = w.at, 0
	}
	w.entries = append(w.entries, Entry{Sequence: sequence, At: w.at})
}

// log is what was made, without the entries that stayed empty.
func (w *world) log() Log {
	var l Log
	for _, e := range w.entries {
		if len(e.Events) > 0 || e.Poison != "" {
			l = append(l, e)
		}
	}
	if len(l) == 0 {
		return Log{{Sequence: 1, At: w.at, Poison: "nothing happened"}}
	}
	return l
}

// add adds an event that nobody sent before.
func (w *world) add(t *rapid.T, ev events.Event) {
	w.name(t, &ev)
	w.state(t, &ev)
	w.push(ev)
}

func (w *world) push(ev events.Event) {
	e := &w.entries[len(w.entries)-1]
	e.Events = append(e.Events, ev)
	if ev.EventID != "" {
		w.named = append(w.named, namedEvent{ev, w.clock})
	}
}

// name gives an event an id, now and then one that another event has.
func (w *world) name(t *rapid.T, ev *events.Event) {
	if ev.Kind.Internal() || often(t, 2) && !(w.chatty && seldom(t, 1)) {
		return
	}
	w.names++
	ev.EventID = fmt.Sprint("e", w.names)
	if seldom(t, 2) {
		ev.EventID = fmt.Sprint("e", 1+pick(t, w.names))
	}
}

// state makes some events imported ones, mostly in the order of their times.
func (w *world) state(t *rapid.T, ev *events.Event) {
	if w.past == 0 || ev.Kind.Internal() || seldom(t, 2) {
		return
	}
	const second = 1000
	ev.Imported = true
	switch pick(t, 10) {
	case 0: // out of order
		ev.Time = w.past - int64(pick(t, 5))*second
		return
	case 1: // now, or a moment later
		ev.Time = w.at + int64(pick(t, 2))
		return
	case 2, 3: // at the end of a validity, or beyond
		w.past += [...]int64{second, 60 * second, 72 * hour}[pick(t, 3)] + int64(pick(t, 2))
	case 4, 5, 6:
		w.past += int64(pick(t, 20)) * second
	}
	ev.Time = w.past
}

// retry has a producer send an event that has an id once more, as it was or in the words of another
// door, or several of them in an entry of their own, as a request that is sent again.
func (w *world) retry(t *rapid.T) events.Kind {
	if len(w.named) == 0 {
		return events.KindUnknown
	}
	from := len(w.named) - 1 - pick(t, min(len(w.named), 8))
	again := w.named[from : from+1]
	switch pick(t, 4) {
	case 3:
		w.nextEntry(t)
		again = slices.Clone(w.named[max(0, from-1-pick(t, 3)) : from+1])
	case 2:
		ev := again[0].ev
		w.reword(t, &ev)
		again = []namedEvent{{ev: ev}}
	}
	for _, x := range again {
		w.push(x.ev)
	}
	return again[0].ev.Kind
}

// reword changes what an event says beside its name: app, kind, conversation, user and message.
func (w *world) reword(t *rapid.T, ev *events.Event) {
	switch ev.Kind {
	case events.MessageSent:
		ev.Silent, ev.Label = !ev.Silent, worldLabels[pick(t, len(worldLabels))]
		ev.Receipt = ev.Group != "" && !ev.Receipt
	case events.GroupCreated:
		ev.Members = append(slices.Clone(ev.Members), w.user(t))
	case events.GroupRole:
		ev.Role = [...]events.Role{events.RoleAdmin, events.RoleMember, events.RoleOwner}[pick(t, 3)]
	case events.MessageRead:
		ev.Content, ev.Strict = "another content", !ev.Strict
	case events.MessageDelivered, events.MessageRecalled:
		ev.Strict = !ev.Strict
	case events.ConversationRead:
		ev.Strict = ev.Message != "" && !ev.Strict
		ev.Time = w.clock - 1000
	}
}

func (w *world) sequence() uint64 { return w.entries[len(w.entries)-1].Sequence }

// nextEntry closes the open entry. Now and then a poison entry comes between.
func (w *world) nextEntry(t *rapid.T) {
	next := func() uint64 {
		if seldom(t, 5) {
			return w.sequence() + 2 + uint64(pick(t, 5))
		}
		return w.sequence() + 1
	}
	w.at = w.nextTime(t)
	if seldom(t, 6) {
		w.open(next())
		w.entries[len(w.entries)-1].Poison = "not a batch"
		w.at = w.nextTime(t)
	}
	w.open(next())
}

// nextTime is the broker time of the next entry. Times count in milliseconds.
func (w *world) nextTime(t *rapid.T) int64 {
	const second, day = 1000, 24 * hour
	switch {
	case w.right != 0 && seldom(t, 1): // the clock is set right
		return w.right + int64(pick(t, 3))*second
	case w.right == 0 && seldom(t, 5): // the clock jumps
		w.right = w.clock
		return w.clock + [...]int64{2 * hour, 1000 * day, 30 * day, hour + 1}[pick(t, 4)]
	}
	switch pick(t, 20) {
	case 0, 1, 2:
		return w.clock
	case 3, 4, 5, 6, 7, 8:
		return w.clock + 1 + int64(pick(t, 20))
	case 9, 10, 11:
		return w.clock + int64(1+pick(t, 20))*100
	case 12:
		return w.clock - int64(1+pick(t, 20))*second // a broker whose clock was set back
	case 13: // around the end of the time for which an event is known
		if len(w.named) > 0 && seldom(t, 1) {
			return w.named[len(w.named)-1-pick(t, min(len(w.named), 4))].at + events.EventIDsFor.Milliseconds() + int64(pick(t, 2))
		}
		return w.clock
	case 14: // around the end of the time for which a device is known
		if len(w.deviceAt) > 0 && seldom(t, 1) {
			return w.deviceAt[len(w.deviceAt)-1-pick(t, min(len(w.deviceAt), 4))] + events.DeviceFor.Milliseconds() + int64(pick(t, 2))
		}
		return w.clock + int64(1+pick(t, 20))*second
	case 15:
		if seldom(t, 1) {
			return (w.clock/day+1)*day - 1 + int64(pick(t, 2)) // around midnight
		}
		// around the time of alerts
		return (w.clock/hour+int64([...]int{1, 2, 3, 25}[pick(t, 4)]))*hour - 1 + int64(pick(t, 2))
	case 16, 17, 18: // around the end of a message's validity
		if len(w.sent) > 0 {
			m := w.sent[len(w.sent)-1-pick(t, min(len(w.sent), 4))]
			s := w.settings[m.ev.App]
			validity := s.SingleReceipts.Validity
			if m.ev.Group != "" {
				validity = s.GroupReceipts.Validity
			}
			return m.at + validity.Milliseconds() + int64(pick(t, 2))
		}
	default: // around the end of a parked receipt's time
		if len(w.early) > 0 {
			return w.early[len(w.early)-1-pick(t, min(len(w.early), 4))] + events.ParkedFor.Milliseconds() + int64(pick(t, 2))
		}
	}
	return w.clock
}
