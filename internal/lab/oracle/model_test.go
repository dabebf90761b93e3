package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
)

func TestEventsOfAnAppWithoutSettingsAreRejectedAndForgotten(t *testing.T) {
	m := New(0)
	outcomes := m.Apply(1, start, []events.Event{
		create("g", "a", "b"), read("g", "m", "a"), seen("a", 1), configure(0, nil), configure(7, nil), configure(7, nil), configure(6, nil),
		say("g", "m", "a"), configure(8, func(s *events.Settings) { s.DeliveryReceipts = false }), deliver("b", "m", "a"),
	})
	want := []events.Outcome{
		events.RejectedNoApp, events.RejectedNoApp, events.RejectedNoApp, dup, ok, dup, dup,
		events.RejectedNoGroup, ok, events.RejectedDeliveryOff,
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %d, want %d", outcomes, want)
	}
	if got := m.Rejections(theApp); len(got) != 2 || got[1].Index != 7 || got[0].Index != 9 {
		t.Errorf("rejections %+v, want those at 9 and 7", got)
	}
	if s, revision, found := m.Settings(theApp); !found || revision != 8 || s.DeliveryReceipts {
		t.Errorf("settings %+v of revision %d, %v", s, revision, found)
	}
}

func TestClockNeverRunsBackward(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{1000, create("g", "a", "b"), ok},
		{500, ask("g", "m1", "a"), ok},
		{2000, ask("g", "m2", "a"), ok},
		{0, read("g", "m2", "b"), ok},
	})
	want := []int64{start + 1000, start + 2000}
	for i, msg := range m.AllMessages(theApp) {
		if msg.SentAt != want[i] {
			t.Errorf("%s sent at %d, want %d", msg.ID, msg.SentAt, want[i])
		}
	}
	if r := m.Readers(group("g"), "m2"); r[0].ReadAt != start+2000 {
		t.Errorf("read at %d, want %d", r[0].ReadAt, start+2000)
	}
}

func TestPoisonedEntriesMoveTheClockOnly(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
	})
	m.Poison(5, start+3000, "not a batch")
	m.Apply(9, start+2000, []events.Event{say("g", "m", "a")})
	if got, want := m.Poisoned(), []Poisoned{{Sequence: 5, At: start + 3000, Reason: "not a batch"}}; !slices.Equal(got, want) {
		t.Errorf("poisoned %+v, want %+v", got, want)
	}
	if msg, _ := m.Message(group("g"), "m"); msg.SentAt != start+3000 || m.Sequence() != 9 {
		t.Errorf("sent at %d by entry %d, want %d by 9", msg.SentAt, m.Sequence(), start+3000)
	}
}

func TestEntriesComeInOrder(t *testing.T) {
	m := New(0)
	m.Apply(2, start, nil)
	defer func() {
		if recover() == nil {
			t.Error("an entry came twice without a panic")
		}
	}()
	m.Apply(2, start, nil)
}
