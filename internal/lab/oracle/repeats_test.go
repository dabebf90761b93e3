package oracle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func named(id string, ev events.Event) events.Event {
	ev.EventID = id
	return ev
}

// again is the outcome of a repeat of an event that had this one.
func again(o events.Outcome) events.Outcome { return o.Repeat() }

// What means "up to now", and what toggles, has no effect when it comes again.
func TestRepeatsHaveNoEffect(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
		{0, ask("g", "m1", "a"), ok},
		{1, named("1", readAll("g", "b")), ok},
		{2, ask("g", "m2", "a"), ok},
		{3, named("1", readAll("g", "b")), again(ok)},
		{4, named("2", join("g", "c")), ok},
		{4, named("2", join("g", "c")), again(ok)},
		{5, leave("g", "c"), ok},
		{6, named("2", join("g", "c")), again(ok)},
		{7, named("3", role("g", "b", events.RoleAdmin)), ok},
		{7, role("g", "b", events.RoleMember), ok},
		{8, named("3", role("g", "b", events.RoleAdmin)), again(ok)},
		{9, named("4", role("g", "x", events.RoleAdmin)), events.RejectedNotMember},
		{9, join("g", "x"), ok},
		{9, named("4", role("g", "x", events.RoleAdmin)), again(events.RejectedNotMember)},
	})
	if got, want := m.Conversations(theApp, "b"), []projections.ConversationView{{Group: "g", Unread: 1, LastReadAt: start + 1}}; !slices.Equal(got, want) {
		t.Errorf("b has %+v, want %+v", got, want)
	}
	if got := m.Conversations(theApp, "c"); len(got) > 0 {
		t.Errorf("c is back in %+v", got)
	}
	if got := fmt.Sprint(m.Members(theApp, "g")); got != "[{a owner 0 0} {b member 1 1700006400001} {x member 0 0}]" {
		t.Errorf("members %s", got)
	}
	if r := m.Rejections(theApp); len(r) != 1 {
		t.Errorf("rejections %+v", r)
	}
}

// An id names an event together with what the event is about.
func TestOneIDOfTwoEvents(t *testing.T) {
	play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, create("h", "a", "b", "c"), ok},
		{0, named("1", ask("g", "m", "a")), ok},
		{0, named("1", ask("h", "m", "a")), ok},
		{0, named("1", ask("h", "n", "a")), ok},
		{0, named("1", read("g", "m", "b")), ok},
		{0, named("1", read("g", "m", "c")), ok},
		{0, named("1", read("h", "n", "c")), ok},
		{0, named("1", readAll("h", "c")), ok},
		{0, named("1", read("g", "m", "b")), again(ok)},
	})
}

// The day begins with the first, and the parked receipt stays what it was.
func TestEventsAreKnownForADay(t *testing.T) {
	play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
		{0, named("1", read("g", "m", "b")), parks},
		{1, ask("g", "m", "a"), ok},
		{2, named("1", read("g", "m", "b")), again(parks)},
		{days, named("1", read("g", "m", "b")), again(parks)},
		{days + 1, named("1", read("g", "m", "b")), dup},
		{2*days + 1, named("1", read("g", "m", "b")), again(dup)},
	})
}

func TestEventsAreForgottenBeyondTheLimit(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxEventIDs = 2
	play(t, limits, []line{
		{0, create("g", "a", "b"), ok},
		{0, named("1", join("g", "c")), ok},
		{0, named("2", leave("g", "c")), ok},
		{0, named("1", join("g", "c")), again(ok)}, // and is not known anew
		{0, named("3", join("g", "d")), ok},
		{0, named("2", leave("g", "c")), again(ok)},
		{0, named("1", join("g", "c")), ok},
	})
}

// Of an app without settings nothing is kept.
func TestNothingIsKnownWithoutAnApp(t *testing.T) {
	m := New(0)
	ev := named("1", create("g", "a"))
	if got := m.Apply(1, start, []events.Event{ev, configure(1, nil), ev, ev}); !slices.Equal(got, []events.Outcome{events.RejectedNoApp, ok, ok, again(ok)}) {
		t.Errorf("%v", got)
	}
}
