package oracle

import (
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestReceiptsAreDecidedInOrder(t *testing.T) {
	small := func(s *events.Settings) { s.GroupReceipts.MaxGroupSize = 3 }
	off := func(s *events.Settings) { s.GroupReceipts.Enabled, s.DeliveryReceipts = false, false }
	m := playWith(t, DefaultLimits(), small, []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, say("g", "plain", "a"), ok},
		{0, ask("g", "m", "a"), ok},
		{0, join("g", "d"), ok},
		{0, ask("g", "big", "a"), ok},
		{0, ask("g", "gone", "a"), ok},
		{0, recall("g", "gone", "a"), ok},
		{0, strict(read("g", "none", "b")), events.RejectedNotFound},
		{0, strict(read("h", "none", "b")), events.RejectedNotFound},
		{0, read("g", "gone", "b"), events.RejectedNotFound},
		{0, read("g", "gone", "a"), events.RejectedNotFound}, // recalled before self
		{0, read("g", "plain", "a"), dup},                    // self before plain
		{0, read("g", "plain", "b"), events.RejectedNotFound},
		{0, read("g", "plain", "x"), events.RejectedNotFound}, // plain before membership
		{0, read("g", "big", "x"), dup},                       // oversize before membership
		{0, read("g", "m", "a"), dup},
		{1, content(read("g", "m", "b"), "seen"), ok},
		{2, content(read("g", "m", "b"), "again"), dup},
		{2, read("g", "m", "d"), events.RejectedNotFound}, // joined after it
		{3, single("b", say("", "m", "a")), ok},           // the same id in another conversation
		{3, deliver("a", "m", "b"), ok},
		{3, deliver("b", "m", "a"), dup},
		{4, deliver("a", "m", "b"), dup},
		{5, content(single("a", read("", "m", "b")), "hi"), ok},
		{5, single("a", read("", "m", "b")), dup},
		{5, single("b", say("", "m2", "a")), ok},
		{6, single("a", read("", "m2", "b")), ok},
		{6, deliver("a", "m2", "b"), dup}, // reading implies delivered
		{7, configure(2, off), ok},
		{7, read("g", "m", "c"), events.RejectedNotOpen},
		{7, read("g", "m", "a"), events.RejectedNotOpen},
		{7, read("g", "m", "b"), dup}, // a repeat
		{7, deliver("a", "m", "b"), dup},
		{7, deliver("b", "m", "a"), events.RejectedDeliveryOff},
		{7, single("a", read("", "m2", "b")), dup}, // the group switch is not for single chats
		{7, dissolve("g"), ok},
		{7, read("g", "m", "b"), dup},
		{7, read("g", "gone", "b"), events.RejectedNotOpen},
		{7, read("g", "m", "c"), events.RejectedNotOpen}, // the switch before the group
		{8, configure(3, small), ok},
		{8, read("g", "m", "c"), events.RejectedNoGroup},
		{8, read("g", "none", "c"), events.RejectedNoGroup}, // never parked
	})
	want := []projections.Message{
		{ID: "m", From: "a", Group: "g", SentAt: start, ReceiptRequested: true, Tracked: true,
			Counts: projections.Counts{Eligible: 2, Delivered: 1, Read: 1}, FirstReadAt: start + 1, LastReadAt: start + 1},
		{ID: "m", From: "a", To: "b", SentAt: start + 3, Tracked: true,
			Counts: projections.Counts{Eligible: 1, Delivered: 1, Read: 1}, FirstReadAt: start + 5, LastReadAt: start + 5, DeliveredAt: start + 3},
	}
	if got := m.Messages(theApp, "m"); !reflect.DeepEqual(got, want) {
		t.Errorf("messages\n%+v, want\n%+v", got, want)
	}
	if got, want := m.Readers(group("g"), "m"), []projections.Reader{{User: "b", ReadAt: start + 1, Content: "seen"}}; !slices.Equal(got, want) {
		t.Errorf("readers %+v, want %+v", got, want)
	}
	if got, want := m.Readers(chat("b", "a"), "m"), []projections.Reader{{User: "b", ReadAt: start + 5, Content: "hi"}}; !slices.Equal(got, want) {
		t.Errorf("readers %+v, want %+v", got, want)
	}
	if c, _ := m.Counts(group("g"), "big"); c != (projections.Counts{}) {
		t.Errorf("oversize counts %+v", c)
	}
}

func TestValidityCountsUpToItsLastMillisecond(t *testing.T) {
	validity := func(ms int64) func(*events.Settings) {
		return func(s *events.Settings) {
			s.GroupReceipts.Validity, s.SingleReceipts.Validity = duration(ms), duration(2*ms)
		}
	}
	playWith(t, DefaultLimits(), validity(hour), []line{
		{0, create("g", "a", "b", "c", "d"), ok},
		{0, ask("g", "m", "a"), ok},
		{0, single("b", say("", "m", "a")), ok},
		{0, single("b", say("", "m2", "a")), ok},
		{hour, read("g", "m", "b"), ok},
		{hour + 1, read("g", "m", "c"), events.RejectedNotFound},
		{hour + 1, read("g", "m", "b"), dup},
		{0, read("g", "m", "c"), events.RejectedNotFound}, // the clock does not run back
		{hour + 1, read("g", "m", "x"), events.RejectedNotMember},
		{2 * hour, deliver("a", "m", "b"), ok},
		{2*hour + 1, deliver("a", "m2", "b"), events.RejectedNoMessage},
		{2*hour + 1, single("a", read("", "m2", "b")), events.RejectedNoMessage},
		// That it was delivered does not make it read.
		{2*hour + 1, single("a", read("", "m", "b")), events.RejectedNoMessage},
		// The settings in force decide.
		{2*hour + 1, configure(2, validity(3*hour)), ok},
		{2*hour + 1, read("g", "m", "c"), ok},
		{2*hour + 1, single("a", read("", "m2", "b")), ok},
		{400 * days, configure(3, validity(0)), ok},
		{400 * days, read("g", "m", "d"), ok},
		{400 * days, single("a", read("", "m", "b")), ok},
	})
}
