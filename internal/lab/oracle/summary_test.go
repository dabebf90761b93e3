package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestSummary(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxSummaryItems = 2
	m := play(t, limits, []line{
		/*  1 */ {0, create("g", "a", "b", "c", "d"), ok},
		/*  2 */ {0, ask("g", "m1", "a"), ok},
		/*  3 */ {0, ask("g", "m2", "a"), ok},
		/*  4 */ {0, ask("g", "m3", "a"), ok},
		/*  5 */ {0, ask("g", "other", "b"), ok},
		/*  6 */ {0, seen("a", 99), dup},
		/*  7 */ {1, read("g", "m1", "b"), ok},
		/*  8 */ {2, read("g", "m2", "b"), ok},
		/*  9 */ {3, read("g", "m1", "c"), ok}, // m1 goes behind m2
		/* 10 */ {4, read("g", "m3", "b"), ok}, // pushes out m2
		/* 11 */ {5, read("g", "m2", "b"), dup},
		/* 12 */ {6, seen("a", 7), dup},
		/* 13 */ {6, seen("a", 9), ok}, // m1
		/* 14 */ {7, read("g", "m1", "d"), ok}, // back again, at the end, with everything so far
		/* 15 */ {8, read("g", "other", "c"), ok},
	})
	want := []projections.SummaryItem{
		{Message: "m3", Group: "g", Count: 1, LastReader: "b", FirstReadAt: start + 4, LastReadAt: start + 4},
		{Message: "m1", Group: "g", Count: 3, LastReader: "d", FirstReadAt: start + 1, LastReadAt: start + 7},
	}
	if got := m.Summary(theApp, "a"); !slices.Equal(got, want) {
		t.Errorf("summary\n%+v, want\n%+v", got, want)
	}
	if n := m.Dropped(theApp, "a"); n != 1 {
		t.Errorf("%d dropped", n)
	}
	outcomes := m.Apply(16, start+9, []events.Event{dissolve("g"), seen("b", 15), seen("b", 15), seen("a", 13)})
	if want := []events.Outcome{ok, ok, dup, ok}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v, want %v", outcomes, want)
	}
	if got := m.Summary(theApp, "a"); !slices.Equal(got, want[1:]) {
		t.Errorf("summary %+v, want %+v", got, want[1:])
	}
	if got := m.authors(theApp); !slices.Equal(got, []string{"a"}) {
		t.Errorf("authors %q", got)
	}
}

func TestSummaryOfSingleChats(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		/*  1 */ {0, single("b", say("", "m1", "a")), ok},
		/*  2 */ {0, single("b", say("", "m2", "a")), ok},
		/*  3 */ {0, single("b", say("", "m3", "a")), ok},
		/*  4 */ {0, single("b", say("", "m4", "a")), ok},
		/*  5 */ {1, deliver("a", "m1", "b"), ok},
		/*  6 */ {2, deliver("a", "m2", "b"), ok},
		/*  7 */ {3, single("a", read("", "m3", "b")), ok},
		/*  8 */ {4, single("a", read("", "m1", "b")), ok}, // the latest news of m1
		/*  9 */ {5, single("a", readAll("", "b")), ok}, // reads m2, m4: neither is an item
		/* 10 */ {6, deliver("a", "m4", "b"), dup},
	})
	chatItem := projections.SummaryItem{Kind: projections.SummaryConversationRead, Peer: "b", LastReadAt: start + 5}
	want := []projections.SummaryItem{
		{Kind: projections.SummaryRead, Message: "m2", Peer: "b", DeliveredAt: start + 2, LastReadAt: start + 5},
		{Kind: projections.SummaryRead, Message: "m3", Peer: "b", LastReadAt: start + 3},
		{Kind: projections.SummaryRead, Message: "m1", Peer: "b", DeliveredAt: start + 1, LastReadAt: start + 4},
		chatItem,
	}
	if got := m.Summary(theApp, "a"); !slices.Equal(got, want) {
		t.Errorf("summary\n%+v, want\n%+v", got, want)
	}
	if got := m.authors(theApp); !slices.Equal(got, []string{"a"}) {
		t.Errorf("authors %q", got)
	}
	// The conversation read is no receipt of m2: its last entry stays that of its delivery.
	if got := m.Apply(11, start+7, []events.Event{seen("a", 5), seen("a", 6), seen("a", 8)}); !slices.Equal(got, []events.Outcome{dup, ok, ok}) {
		t.Errorf("outcomes %v", got)
	}
	if got := m.Summary(theApp, "a"); !slices.Equal(got, []projections.SummaryItem{chatItem}) {
		t.Errorf("summary %+v, want the conversation read", got)
	}
}

func TestConversationReadIsOneItemOfEachSide(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxSummaryItems = 2
	m := play(t, limits, []line{
		/*  1 */ {0, single("b", say("", "m1", "a")), ok},
		/*  2 */ {1, single("a", readAll("", "b")), ok},
		/*  3 */ {2, single("b", readAll("", "a")), ok}, // reads nothing: only b has sent
		/*  4 */ {3, single("a", readAll("", "b")), dup},
		/*  5 */ {3, single("b", say("", "m2", "a")), ok},
		/*  6 */ {4, deliver("a", "m2", "b"), ok},
		/*  7 */ {5, seen("b", 2), dup},
		/*  8 */ {5, single("a", readAll("", "b")), ok}, // keeps its place, but not its entry
		/*  9 */ {6, seen("a", 7), ok}, // m2
		/* 10 */ {7, single("b", say("", "m3", "a")), ok},
		/* 11 */ {8, deliver("a", "m3", "b"), ok},
		/* 12 */ {9, single("b", recall("", "m3", "a")), ok}, // leaves the summary
		/* 13 */ {9, single("b", recall("", "m1", "a")), ok}, // the chat stays in it
		/* 14 */ {10, single("c", say("", "m4", "a")), ok},
		/* 15 */ {11, single("a", readAll("", "c")), ok},
	})
	for user, want := range map[string][]projections.SummaryItem{
		"a": {{Kind: projections.SummaryConversationRead, Peer: "b", LastReadAt: start + 5},
			{Kind: projections.SummaryConversationRead, Peer: "c", LastReadAt: start + 11}},
		"b": nil, // a has read nothing
	} {
		if got := m.Summary(theApp, user); !slices.Equal(got, want) {
			t.Errorf("summary of %s\n%+v, want\n%+v", user, got, want)
		}
	}
	// One more pushes out the first, whatever kinds they are; what was pushed out comes back at the
	// end.
	m.Apply(16, start+12, []events.Event{
		single("b", say("", "m5", "a")), deliver("a", "m5", "b"), single("a", readAll("", "b")),
	})
	got := m.Summary(theApp, "a")
	if len(got) != 2 || got[0].Message != "m5" || got[1].Peer != "b" || got[1].LastReadAt != start+12 {
		t.Errorf("summary %+v", got)
	}
}

func TestParkedReceiptsAreItemsFromTheEntryOfTheirMessage(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		/* 1 */ {0, deliver("a", "m", "b"), parks},
		/* 2 */ {1, single("b", say("", "m", "a")), ok},
		/* 3 */ {2, seen("a", 1), dup},
		/* 4 */ {2, seen("a", 2), ok},
	})
	if got := m.Summary(theApp, "a"); got != nil {
		t.Errorf("summary %+v", got)
	}
}
