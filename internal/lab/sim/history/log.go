package history

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// Entry is one entry of a partition's log.
type Entry struct {
	Sequence uint64
	At       int64 // the broker's time, Unix milliseconds; may run backward
	Events   []events.Event
	// Poison is why the entry cannot be decoded; empty for all others. A poison entry has no
	// events.
	Poison string
}

// Log is the log of one partition: at least one entry, sequences growing but not without gaps.
type Log []Entry

// SmallLimits are limits that the logs of [Logs] reach. ParkedFor is the real one.
func SmallLimits() oracle.Limits {
	limits := oracle.DefaultLimits()
	limits.MaxGroupMembers = 4
	limits.MaxEverMembers = 5
	limits.MaxParked = 3
	limits.MaxSummaryItems = 3
	limits.MaxRejections = 10
	limits.MaxEventIDs = 5
	limits.MaxReadsAhead = 2
	limits.MaxDevices = 3
	limits.MaxLabels = 2
	limits.MaxAlerts, limits.MaxAlertParts = 3, 4
	return limits
}

// SmallLevels are levels of the rules above 1 that the logs of [Raise] come to.
func SmallLevels() []func(*oracle.Limits) {
	return []func(*oracle.Limits){
		func(l *oracle.Limits) { l.MaxGroupMembers = 3 },
		func(l *oracle.Limits) { l.MaxGroupMembers, l.MaxReadsAhead = 4, 1 },
	}
}

// Apply lets the model decide all entries and returns the outcomes of each.
func (l Log) Apply(m *oracle.Model) [][]events.Outcome {
	outcomes := make([][]events.Outcome, len(l))
	for i, e := range l {
		outcomes[i] = e.Apply(m)
	}
	return outcomes
}

// Apply lets the model decide the entry and returns the outcomes.
func (e *Entry) Apply(m *oracle.Model) []events.Outcome {
	if e.Poison != "" {
		m.Poison(e.Sequence, e.At, e.Poison)
		return nil
	}
	return m.Apply(e.Sequence, e.At, e.Events)
}

// Len is the number of events.
func (l Log) Len() int {
	n := 0
	for _, e := range l {
		n += len(e.Events)
	}
	return n
}

// String shows an event a line, so that a failed check can be read.
func (l Log) String() string {
	var b strings.Builder
	for _, e := range l {
		fmt.Fprintf(&b, "entry %d at %d %s\n", e.Sequence, e.At, e.Poison)
		for i := range e.Events {
			fmt.Fprintf(&b, "  %2d %s\n", i, show(&e.Events[i]))
		}
	}
	return b.String()
}

// GoString is String: rapid prints what it drew with %#v.
func (l Log) GoString() string { return "\n" + l.String() }

// show prints the fields an event has.
func show(ev *events.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", ev.App, ev.Kind)
	for _, f := range []struct {
		name  string
		value any
		given bool
	}{
		{"group", ev.Group, ev.Group != ""},
		{"peer", ev.Peer, ev.Peer != ""},
		{"user", ev.User, ev.User != ""},
		{"message", ev.Message, ev.Message != ""},
		{"content", ev.Content, ev.Content != ""},
		{"receipt", ev.Receipt, ev.Receipt},
		{"strict", ev.Strict, ev.Strict},
		{"silent", ev.Silent, ev.Silent},
		{"imported", ev.Imported, ev.Imported},
		{"label", ev.Label, ev.Label != ""},
		{"reads", ev.SendReads, ev.SendReads != events.ChoiceNone},
		{"deliveries", ev.SendDeliveries, ev.SendDeliveries != events.ChoiceNone},
		{"role", ev.Role, ev.Role != events.RoleNone},
		{"members", ev.Members, len(ev.Members) > 0},
		{"admins", ev.Admins, len(ev.Admins) > 0},
		{"time", ev.Time, ev.Time != 0},
		{"revision", ev.Revision, ev.Revision != 0},
		{"upto", ev.Upto, ev.Upto != 0},
		{"device", ev.Device, ev.Device != ""},
		{"event_id", ev.EventID, ev.EventID != ""},
	} {
		if f.given {
			fmt.Fprintf(&b, " %s=%v", f.name, f.value)
		}
	}
	if ev.Settings != nil {
		fmt.Fprintf(&b, " settings=%+v", *ev.Settings)
	}
	return b.String()
}

// Logs makes random logs of 30 to 150 steps, nearly all of them an event. Their universe is
// small: two apps, three groups of an app, six users and a few message ids, so that the same ids
// meet again and again, and every outcome occurs with the limits of [SmallLimits]. All events are
// valid; broker times fall on and beside the limits of the settings in force.
func Logs() *rapid.Generator[Log] {
	return rapid.Custom(func(t *rapid.T) Log {
		w := newWorld(t)
		rapid.SliceOfN(rapid.Custom(w.step), 30, 150).Draw(t, "steps")
		return w.log()
	})
}
