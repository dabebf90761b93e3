package oracle

import (
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

const (
	theApp = "o#a"
	second = int64(1000)
	hour   = 3600 * second
	days   = 24 * hour
	start  = 1_700_006_400_000 // 2023-11-15T00:00:00Z: a day begins
)

// line is one event in a log entry of its own, and its outcome.
type line struct {
	at   int64 // broker time, milliseconds after start
	ev   events.Event
	want events.Outcome
}

const (
	ok     = events.OutcomeApplied
	dup    = events.OutcomeDuplicate
	parks  = events.OutcomeParked
	exists = events.RejectedMessageExists
)

// play applies the lines to a new model whose app has group receipts on, and checks their outcomes.
// The entry of lines[i] has the sequence i+1; the configuration that comes before them has it too,
// since the first line is in the same entry.
func play(t *testing.T, limits Limits, lines []line) *Model {
	t.Helper()
	return playWith(t, limits, nil, lines)
}

func playWith(t *testing.T, limits Limits, change func(*events.Settings), lines []line) *Model {
	t.Helper()
	m := NewWithLimits(3, limits)
	for i, l := range lines {
		evs := []events.Event{l.ev}
		if i == 0 {
			evs = []events.Event{configure(1, change), l.ev}
		}
		outcomes := m.Apply(uint64(i+1), start+l.at, evs)
		if got := outcomes[len(outcomes)-1]; got != l.want {
			t.Errorf("line %d, %v of %q by %q: %v %q, want %v %q", i+1, l.ev.Kind, l.ev.Message, l.ev.User,
				got, got.Reason(), l.want, l.want.Reason())
		}
	}
	return m
}

func configure(revision uint64, change func(*events.Settings)) events.Event {
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	if change != nil {
		change(&s)
	}
	return events.Event{App: theApp, Kind: events.AppConfigured, Settings: &s, Revision: revision}
}

func create(group, owner string, members ...string) events.Event {
	return events.Event{App: theApp, Kind: events.GroupCreated, Group: group, User: owner, Members: members}
}

func withAdmins(ev events.Event, admins ...string) events.Event {
	ev.Admins = admins
	return ev
}

func inGroup(kind events.Kind, group, user string) events.Event {
	return events.Event{App: theApp, Kind: kind, Group: group, User: user}
}

func join(group, user string) events.Event  { return inGroup(events.GroupJoined, group, user) }
func leave(group, user string) events.Event { return inGroup(events.GroupLeft, group, user) }
func dissolve(group string) events.Event    { return inGroup(events.GroupDissolved, group, "") }
func role(group, user string, r events.Role) events.Event {
	ev := inGroup(events.GroupRole, group, user)
	ev.Role = r
	return ev
}

// say sends a plain group message, ask one that asks for receipts.
func say(group, id, user string) events.Event {
	ev := inGroup(events.MessageSent, group, user)
	ev.Message = id
	return ev
}

func ask(group, id, user string) events.Event {
	ev := say(group, id, user)
	ev.Receipt = true
	return ev
}

func read(group, id, user string) events.Event {
	ev := inGroup(events.MessageRead, group, user)
	ev.Message = id
	return ev
}

func recall(group, id, user string) events.Event {
	ev := inGroup(events.MessageRecalled, group, user)
	ev.Message = id
	return ev
}

func readAll(group, user string) events.Event {
	return inGroup(events.ConversationRead, group, user)
}

// single turns an event of a group into one of the single chat with the peer.
func single(peer string, ev events.Event) events.Event {
	ev.Group, ev.Peer = "", peer
	return ev
}

func deliver(peer, id, user string) events.Event {
	return events.Event{App: theApp, Kind: events.MessageDelivered, Peer: peer, Message: id, User: user}
}

func strict(ev events.Event) events.Event {
	ev.Strict = true
	return ev
}

func content(ev events.Event, text string) events.Event {
	ev.Content = text
	return ev
}

func seen(author string, upto uint64) events.Event {
	return events.Event{App: theApp, Kind: events.StatisticSeen, User: author, Upto: upto}
}

func group(id string) events.Conversation { return events.Conversation{App: theApp, Group: id} }

func chat(a, b string) events.Conversation {
	return events.Conversation{App: theApp, A: min(a, b), B: max(a, b)}
}

func duration(ms int64) events.Duration { return events.Duration(time.Duration(ms) * time.Millisecond) }
