package history

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// census counts what happens in logs, by name.
type census map[string]int

// eventKey is what an event id belongs to.
func eventKey(ev *events.Event) string {
	return fmt.Sprint(conversationOf(ev), ev.Kind, ev.User, ev.Message, ev.EventID)
}

// outcome counts an event by its kind, by what was decided, and by what it repeats.
func (c census) outcome(ev *events.Event, o events.Outcome) {
	class := o.First().String()
	if o.Rejected() {
		class = "rejected"
	}
	if o.First() == events.OutcomeHidden {
		class = "hidden"
	}
	if o.Repeated() {
		class = "repeat of " + class
	}
	c[fmt.Sprint(ev.Kind, ", ", class)]++
	if ev.Imported {
		c["imported, "+class]++
	}
	if o.Rejected() && !o.Repeated() {
		c[rejection(o)]++
	}
}

// rejection names a rejection; several may have one text.
func rejection(o events.Outcome) string { return fmt.Sprintf("rejected: %s (%d)", o.Reason(), int(o)) }

// clock counts the entries of a broker whose clock runs ahead, and those of one that was set right
// again.
func (c census) clock(l Log) {
	step := events.ClockStep.Milliseconds()
	var now, before int64 // before the last step
	for _, e := range l {
		switch {
		case now > 0 && e.At > now+step:
			c["clock ahead"]++
			before = now
		case before > 0 && e.At < now-step && e.At >= before-step:
			c["clock set right"]++
			now = before
		}
		now = max(now, e.At)
	}
}

// retries counts in which way the events of a log come again.
func (c census) retries(l Log, outcomes [][]events.Outcome) {
	type first struct {
		ev           *events.Event
		entry, index int
	}
	known := map[string]first{}
	ids := map[string]string{}
	bare := map[string]int{} // events without an id, and the entry that had them last
	for i := range l {
		run := 0 // repeats in a row that were in a row before
		var before first
		for j := range l[i].Events {
			ev := &l[i].Events[j]
			if ev.EventID == "" {
				text := show(ev)
				if at, was := bare[text]; was && !ev.Kind.Internal() {
					c["without an id"]++
					if at < i {
						c["without an id, in a later entry"]++
					}
				}
				bare[text], run = i, 0
				continue
			}
			key := eventKey(ev)
			if other, used := ids[ev.App+ev.EventID]; used && other != key {
				c["same id, another event"]++
			}
			ids[ev.App+ev.EventID] = key
			x, was := known[key]
			switch {
			case !was:
				known[key] = first{ev, i, j}
			case !outcomes[i][j].Repeated():
				c["same event, forgotten"]++
				known[key] = first{ev, i, j}
			case !reflect.DeepEqual(x.ev, ev):
				c["same event, in other words"]++
			default:
				c["same event"]++
				if x.entry < i {
					c["same event, in a later entry"]++
				}
			}
			if was && run > 0 && before.entry == x.entry && before.index < x.index {
				c["same request"]++
			}
			if run++; !was {
				run = 0
			}
			before = x
		}
	}
}

// rest counts what else the logs are for.
func (c census) rest(l Log, m *oracle.Model) {
	devices := map[string]map[string]bool{}
	holders := map[string]map[string]bool{}
	for i := range l {
		if l[i].Poison != "" {
			c["poison"]++
		}
		for j := range l[i].Events {
			ev := &l[i].Events[j]
			switch {
			case ev.Device != "":
				if devices[ev.App+ev.User] == nil {
					devices[ev.App+ev.User] = map[string]bool{}
				}
				devices[ev.App+ev.User][ev.Device] = true
			case ev.Kind == events.StatisticSeen:
				c["seen, without a device"]++
			}
			if ev.Time != 0 {
				c["reported time"]++
			}
			if ev.Kind == events.ConversationRead && ev.Message != "" {
				c["read up to a message"]++
			}
			if ev.Kind == events.MessageSent {
				id := ev.App + " " + ev.Message
				if holders[id] == nil {
					holders[id] = map[string]bool{}
				}
				holders[id][fmt.Sprint(conversationOf(ev))] = true
			}
		}
	}
	for _, of := range holders {
		if len(of) > 1 {
			c["one id in several conversations"]++
		}
	}
	for _, of := range devices {
		c[fmt.Sprint(len(of), " devices of a user")]++
	}
	for _, app := range m.Apps() {
		for _, r := range m.Rejections(app) { // those of what was parked are no event's outcome
			if r.Outcome == events.RejectedParkedExpired || r.Outcome == events.RejectedNoneCame {
				c[rejection(r.Outcome)]++
			}
		}
		for _, msg := range m.AllMessages(app) {
			for what, is := range map[string]bool{
				"counted message": msg.CountsOnly && msg.Read > 0, "labelled message": msg.Label != "",
				"recalled message": msg.Recalled, "read message": msg.Read > 0,
			} {
				if is {
					c[what]++
				}
			}
		}
		for _, user := range m.Users(app) {
			for _, v := range m.Conversations(app, user) {
				if v.Marked {
					c["marked conversation"]++
				}
			}
		}
	}
}

// TestEverythingOccursInLogs counts a thousand logs: each kind of event with each outcome that it
// can have, the first time and again, and each way to come again. Nothing of it may be missing.
func TestEverythingOccursInLogs(t *testing.T) {
	const logs, least = 1000, 3
	c := census{}
	for seed := range logs {
		l := Logs().Example(seed)
		m := oracle.NewWithLimits(0, SmallLimits())
		var outcomes [][]events.Outcome
		for i := range l {
			outcomes = append(outcomes, l[i].Apply(m))
			for j := range l[i].Events {
				ev := &l[i].Events[j]
				c.outcome(ev, outcomes[i][j])
				if ev.User != "" && m.Dropped(ev.App, ev.User) > 0 {
					c["summary with what was dropped"]++
				}
			}
		}
		c.retries(l, outcomes)
		c.rest(l, m)
		c.clock(l)
	}
	var want []string
	for k := events.MessageSent; k < events.RulesLevel; k++ { // which is only in those of [Raise]
		classes := []string{"applied", "duplicate"}
		switch k {
		case events.MessageRead, events.MessageDelivered, events.ConversationRead:
			classes = append(classes, "hidden", "parked", "rejected")
		case events.MessageRecalled:
			classes = append(classes, "parked", "rejected")
		case events.AppConfigured, events.StatisticSeen:
		default:
			classes = append(classes, "rejected")
		}
		for _, class := range classes {
			want = append(want, fmt.Sprint(k, ", ", class))
			if !k.Internal() {
				want = append(want, fmt.Sprint(k, ", repeat of ", class))
			}
		}
	}
	want = append(want,
		"same event", "same event, in a later entry", "same event, in other words", "same event, forgotten", "same request",
		"same id, another event", "without an id", "without an id, in a later entry",
		"poison", "2 devices of a user", "3 devices of a user", "4 devices of a user", "5 devices of a user", "seen, without a device",
		"reported time", "read up to a message", "counted message", "labelled message", "recalled message", "read message",
		"summary with what was dropped", "marked conversation", "one id in several conversations",
		"imported, applied", "imported, duplicate", "imported, hidden", "imported, parked", "imported, rejected", "imported, repeat of applied",
		"clock ahead", "clock set right")
	for o := events.OutcomeRejected + 1; o.Rejected(); o++ {
		want = append(want, rejection(o))
	}
	for _, name := range want {
		if c[name] < least {
			t.Errorf("%s occurs %d times in %d logs", name, c[name], logs)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		t.Logf("%7d %s", c[name], name)
	}
}
