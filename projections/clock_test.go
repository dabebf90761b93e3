package projections_test

import (
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// TestOneJumpOfTheClockFreezesNothing has the broker's clock ten years ahead for one entry.
// Afterwards validity expires, the daily limit begins anew, what waits expires and ids are
// forgotten as before, also for what came in that entry, and a restart in between makes
// no difference.
func TestOneJumpOfTheClockFreezesNothing(t *testing.T) {
	const app = "acme#chat"
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	settings.GroupReceipts.MaxRequestsPerGroupPerDay = 2
	state := memory{}
	open := func() *projections.Partition {
		part, err := projections.Open(0, state, projections.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return part
	}
	part, seq := open(), uint64(0)
	at := func(when time.Time, e events.Event) string {
		t.Helper()
		seq++
		e.App = app
		var b events.Batch
		b.SetEvents([]events.Event{e})
		outcomes, err := part.Apply(projections.Decoded{Sequence: seq, At: when.UnixMilli(), Batch: &b})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0].String()
	}
	sent := func(id string) events.Event {
		return events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: id, Receipt: true}
	}
	read := func(user, id string) events.Event {
		return events.Event{Kind: events.MessageRead, Group: "g", User: user, Message: id, EventID: "e"}
	}
	begin := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	wrong := begin.AddDate(10, 0, 0)
	steps := []struct {
		when  time.Time
		event events.Event
		want  string
	}{
		{begin, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1}, "applied"},
		{begin, events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo", "dan"}}, "applied"},
		{begin, sent("before"), "applied"},
		{wrong, sent("wrong"), "applied"},
		{wrong, read("ben", "early"), "parked"},
		{begin.Add(time.Second), read("ben", "before"), "applied"},
		{begin.Add(time.Second), read("ben", "wrong"), "applied"},
		{begin.Add(time.Minute), sent("after"), "applied"},
		{begin.Add(time.Minute), sent("after2"), "applied"},
		{begin.Add(time.Minute), sent("after3"), "rejected"}, // the daily limit
		{begin.Add(24 * time.Hour), sent("after3"), "applied"},
		// It is known no more, and waits still.
		{begin.Add(25 * time.Hour), read("ben", "early"), "duplicate"},
		{begin.Add(73 * time.Hour), read("cleo", "before"), "rejected"},
		{begin.Add(73 * time.Hour), read("cleo", "wrong"), "rejected"},
		{begin.Add(73 * time.Hour), read("ben", "early"), "parked"}, // the one before has expired
		// A quiet month: it is believed at once.
		{begin.AddDate(0, 1, 0), read("dan", "after3"), "rejected"},
		// A clock that is set back by minutes, or to where it cannot have been, is waited for.
		{begin.AddDate(0, 1, 0).Add(-10 * time.Minute), sent("late"), "applied"},
		{time.Unix(0, 0), read("ben", "after3"), "rejected"},
	}
	for i, s := range steps {
		if got := at(s.when, s.event); got != s.want {
			t.Errorf("step %d, %v of %q at %v: %s, want %s", i, s.event.Kind, s.event.Message, s.when, got, s.want)
		}
		c, err := part.Capture()
		if err != nil {
			t.Fatal(err)
		}
		if err := state.commit(c); err != nil {
			t.Fatal(err)
		}
		if part.Committed(c); i%2 == 0 {
			part = open()
		}
	}
	if s := part.Stats(); s.ClockSetBack != 1 || s.Clock != begin.AddDate(0, 1, 0).UnixMilli() {
		t.Errorf("the clock is at %v and was taken back %d times", time.UnixMilli(s.Clock).UTC(), s.ClockSetBack)
	}
}
