package oracle

import (
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func counts(limit int) func(*events.Settings) {
	return func(s *events.Settings) {
		s.GroupReceipts.MaxGroupSize, s.GroupReceipts.AboveLimit = limit, events.AboveLimitCounts
	}
}

// TestCountedMessages: what is decided about receipts is what is decided about those of a tracked
// message, and no name is told.
func TestCountedMessages(t *testing.T) {
	m := playWith(t, DefaultLimits(), counts(3), []line{
		{0, create("g", "a", "b", "c", "d", "e"), ok},
		{0, ask("g", "m", "a"), ok},
		{1, content(read("g", "m", "b"), "seen"), ok},
		{2, read("g", "m", "b"), dup},
		{2, read("g", "m", "a"), dup}, // the sender's own
		{2, read("g", "m", "x"), events.RejectedNotMember},
		{3, join("g", "f"), ok},
		{3, read("g", "m", "f"), events.RejectedNotFound}, // frozen
		{4, wants("c", 1, hides, 0), ok},
		{4, read("g", "m", "c"), quiet},
		{5, read("g", "m", "d"), ok},
		{6, leave("g", "d"), ok},
		{6, read("g", "m", "d"), dup},
		{6, ask("g", "m2", "a"), ok},
		{6 + 72*hour, read("g", "m2", "b"), ok}, // exactly the validity
		{7 + 72*hour, read("g", "m2", "e"), events.RejectedNotFound},
		{7 + 72*hour, recall("g", "m2", "a"), ok},
		{8 + 72*hour, read("g", "m2", "b"), events.RejectedNotFound},
	})
	want := projections.Message{
		ID: "m", From: "a", Group: "g", SentAt: start, ReceiptRequested: true, CountsOnly: true,
		Counts: projections.Counts{Eligible: 4, Delivered: 2, Read: 2}, FirstReadAt: start + 1, LastReadAt: start + 5,
	}
	if got, _ := m.Message(group("g"), "m"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if r, n := m.Readers(group("g"), "m"), m.NonReaders(group("g"), "m"); r != nil || n != nil {
		t.Errorf("readers %v, nonreaders %v", r, n)
	}
	if s := m.Summary(theApp, "a"); len(s) != 1 || s[0].Count != 2 || s[0].LastReader != "" || s[0].FirstReadAt != start+1 || s[0].LastReadAt != start+5 {
		t.Errorf("summary %+v", s)
	}
	want.Counts, want.FirstReadAt, want.LastReadAt = projections.Counts{Eligible: 3, Delivered: 1, Read: 1}, 0, 0
	if got := m.Remaining(group("g"), "m"); got != want {
		t.Errorf("without d: %+v", got)
	}
	if c := m.Cohorts(theApp); len(c) != 1 || c[0].Read != 2 || c[0].Eligible != 4 || c[0].Recalled != 1 || c[0].Times != nil {
		t.Errorf("cohorts %+v", c)
	}
}

// TestCountedMessagesUseUpTheDay, since they collect receipts.
func TestCountedMessagesUseUpTheDay(t *testing.T) {
	playWith(t, DefaultLimits(), func(s *events.Settings) {
		counts(2)(s)
		s.GroupReceipts.MaxRequestsPerGroupPerDay = 1
	}, []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, ask("g", "m1", "a"), ok},
		{0, ask("g", "m2", "a"), events.RejectedDailyLimit},
		{0, say("g", "m3", "a"), ok},
	})
}

// TestWhoHasLeftIsLeftOut of the lists and numbers of a tracked message.
func TestWhoHasLeftIsLeftOut(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c", "d", "e"), ok},
		{0, ask("g", "m", "a"), ok},
		{1, read("g", "m", "b"), ok},
		{2, read("g", "m", "c"), ok},
		{3, leave("g", "b"), ok},
		{3, leave("g", "d"), ok},
		{3, leave("g", "e"), ok},
		{3, join("g", "e"), ok}, // and is a member again
		{3, leave("g", "a"), ok},
	})
	got := m.Remaining(group("g"), "m")
	if got.Counts != (projections.Counts{Eligible: 2, Delivered: 1, Read: 1}) || got.FirstReadAt != start+2 || got.LastReadAt != start+2 {
		t.Errorf("%+v", got)
	}
}
