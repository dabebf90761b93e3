package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// imported makes an event one that is imported, of a time in milliseconds after start.
func imported(ms int64, ev events.Event) events.Event {
	ev = at(ms, ev)
	ev.Imported = true
	return ev
}

// TestImportedEvents: what is imported is decided by the time that it states, and goes neither back
// nor beyond T.
func TestImportedEvents(t *testing.T) {
	settings := func(s *events.Settings) {
		s.GroupReceipts.MaxRequestsPerGroupPerDay = 1
		s.GroupReceipts.Validity = duration(2 * hour)
	}
	const late = 100 * days
	m := playWith(t, DefaultLimits(), settings, []line{
		{late, imported(0, create("g", "a", "b", "c", "d")), ok},
		{late, imported(hour, ask("g", "m", "a")), ok},
		{late, imported(2*hour, ask("g", "n", "a")), events.RejectedDailyLimit},
		{late, imported(2*hour, read("g", "m", "b")), ok},
		{late, imported(2*hour-1, read("g", "m", "c")), events.RejectedImportBehind},
		{late, imported(2*hour, read("g", "m", "b")), dup},
		{late, imported(3*hour, read("g", "m", "c")), ok}, // exactly the validity
		{late, imported(3*hour+1, read("g", "m", "d")), events.RejectedNotFound},
		{late, imported(days, ask("g", "n", "a")), ok}, // another day
		{late, imported(late+1, say("g", "o", "a")), events.RejectedImportAhead},
		{late, imported(late, say("g", "o", "a")), ok},
		{late, imported(0, single("b", say("", "p", "a"))), ok}, // another conversation
		{late, imported(hour, single("a", readAll("", "b"))), ok},
		{late, read("g", "n", "b"), events.RejectedNotFound}, // now, when the validity is over
	})
	want := []projections.Reader{{User: "b", ReadAt: start + 2*hour}, {User: "c", ReadAt: start + 3*hour}}
	if got := m.Readers(group("g"), "m"); !slices.Equal(got, want) {
		t.Errorf("readers %+v, not %+v", got, want)
	}
	if p, _ := m.Message(chat("a", "b"), "p"); p.SentAt != start || p.FirstReadAt != start+hour {
		t.Errorf("%+v", p)
	}
	if s := m.Summary(theApp, "a"); len(s) != 0 {
		t.Errorf("summary %+v", s)
	}
}

// TestImportedBesideLive: what comes meanwhile is decided by T, and what was parked by the time of
// the message.
func TestImportedBesideLive(t *testing.T) {
	const late = 100 * days
	m := play(t, DefaultLimits(), []line{
		{late, create("g", "a", "b", "c", "d"), ok},
		{late, read("g", "m", "b"), parks},
		{late + hour, ask("g", "now", "a"), ok},
		{late + hour, imported(hour, ask("g", "m", "a")), ok},
		{late + hour, imported(2*hour, read("g", "now", "c")), ok}, // before it was sent
		{late + 2*hour, read("g", "now", "d"), ok},
		{late + 2*hour, imported(3*hour, read("g", "m", "c")), ok},
		{late + 2*hour, imported(4*hour, read("g", "early", "c")), parks},
		{late + 2*hour, imported(3*hour, read("g", "m", "d")), ok}, // what is parked is not applied
		{late + 3*hour, ask("g", "early", "a"), ok},
	})
	for id, want := range map[string][]projections.Reader{
		"m":     {{User: "b", ReadAt: start + hour}, {User: "c", ReadAt: start + 3*hour}, {User: "d", ReadAt: start + 3*hour}},
		"now":   {{User: "c", ReadAt: start + late + hour}, {User: "d", ReadAt: start + late + 2*hour}},
		"early": {{User: "c", ReadAt: start + late + 3*hour}},
	} {
		if got := m.Readers(group("g"), id); !slices.Equal(got, want) {
			t.Errorf("readers of %s: %+v, not %+v", id, got, want)
		}
	}
	if got, _ := m.Message(group("g"), "m"); got.SentAt != start+hour {
		t.Errorf("%+v", got)
	}
	var told []string
	for _, x := range m.Summary(theApp, "a") {
		told = append(told, x.Message)
	}
	if !slices.Equal(told, []string{"now", "early"}) {
		t.Errorf("summary %v", told)
	}
}
