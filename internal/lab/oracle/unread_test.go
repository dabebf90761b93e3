package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestGroupConversationRead(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, create("empty", "b"), ok},
		{0, readAll("h", "a"), events.RejectedNoGroup},
		{0, readAll("g", "x"), events.RejectedNotMember},
		{0, readAll("g", "b"), dup}, // nothing was sent
		{0, ask("g", "m1", "a"), ok},
		{0, say("g", "m2", "b"), ok},
		{0, say("g", "m2", "b"), dup}, // counts once
		{5, readAll("g", "b"), ok},
		{6, readAll("g", "b"), dup},
		{7, readAll("g", "a"), ok}, // a's own message is no reason against it
		{8, say("g", "m3", "a"), ok},
		{9, readAll("g", "a"), ok}, // sending does not move the watermark
		{9, leave("g", "c"), ok},
		{9, readAll("g", "c"), events.RejectedNotMember},
		{9, say("g", "m4", "a"), ok},
		{9, join("g", "c"), ok},
		{9, readAll("g", "c"), dup}, // the watermark of a newcomer is at sent
		{9, say("g", "m5", "b"), ok},
		{9, dissolve("empty"), ok},
		{9, readAll("empty", "b"), dup},
		{9, readAll("empty", "a"), events.RejectedNoGroup},
	})
	for user, want := range map[string][]projections.ConversationView{
		"a": {{Group: "g", Unread: 1, LastReadAt: start + 9}},
		"b": {{Group: "g", Unread: 2, LastReadAt: start + 5}},
		"c": {{Group: "g", Unread: 1}},
		"x": nil,
	} {
		if got := m.Conversations(theApp, user); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	if r := m.Readers(group("g"), "m1"); r != nil {
		t.Errorf("a group's conversation read made readers %+v", r)
	}
}

func TestMessageReadLeavesUnreadAlone(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
		{0, ask("g", "m", "a"), ok},
		{0, read("g", "m", "b"), ok},
		{0, single("b", say("", "m", "a")), ok},
		{0, single("a", read("", "m", "b")), ok},
	})
	want := []projections.ConversationView{{Group: "g", Unread: 1}, {Peer: "a", Unread: 1}}
	if got := m.Conversations(theApp, "b"); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSingleConversationReadReadsWhatThePeerSentBefore(t *testing.T) {
	validity := func(s *events.Settings) { s.SingleReceipts.Validity = duration(hour) }
	m := playWith(t, DefaultLimits(), validity, []line{
		{0, single("a", readAll("", "b")), dup},
		{0, single("b", say("", "old", "a")), ok},
		{1, single("b", say("", "m1", "a")), ok}, // exactly the validity old when read
		{2, single("b", say("", "m2", "a")), ok},
		{2, single("b", say("", "gone", "a")), ok},
		{2, single("a", say("", "own", "b")), ok},
		{2, single("b", say("", "m2", "a")), dup},
		{2, single("a", say("", "m2", "b")), exists},
		{3, single("b", recall("", "gone", "a")), ok},
		{3, content(single("a", read("", "m2", "b")), "x"), ok},
		{hour + 1, single("a", readAll("", "b")), ok},
		{hour + 1, single("a", readAll("", "b")), dup},
		{hour + 1, single("b", say("", "m3", "a")), ok},
		{hour + 2, single("b", readAll("", "a")), ok},
		{hour + 2, single("b", readAll("", "a")), dup},
		{hour + 2, single("b", say("", "m4", "a")), ok},
		{hour + 3, single("b", readAll("", "a")), ok},
		{hour + 3, single("a", deliver("", "m3", "b")), ok},
	})
	c := chat("a", "b")
	for id, want := range map[string][]projections.Reader{
		"old":  nil,
		"m1":   {{User: "b", ReadAt: start + hour + 1}},
		"m2":   {{User: "b", ReadAt: start + 3, Content: "x"}},
		"gone": nil,
		"own":  {{User: "a", ReadAt: start + hour + 2}}, // exactly the validity old
		"m3":   nil,                                     // sent after the conversation read
		"m4":   nil,
	} {
		if got := m.Readers(c, id); !slices.Equal(got, want) {
			t.Errorf("%s: readers %+v, want %+v", id, got, want)
		}
	}
	if got, _ := m.Counts(c, "m3"); got != (projections.Counts{Eligible: 1, Delivered: 1}) {
		t.Errorf("m3: counts %+v", got)
	}
	if got, _ := m.Counts(c, "m1"); got != (projections.Counts{Eligible: 1, Delivered: 1, Read: 1}) {
		t.Errorf("m1: counts %+v", got)
	}
	for user, want := range map[string]projections.ConversationView{
		"a": {Peer: "b", Unread: 0, LastReadAt: start + hour + 3},
		"b": {Peer: "a", Unread: 2, LastReadAt: start + hour + 1},
	} {
		if got := m.Conversations(theApp, user); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
}

func TestSingleConversationReadStartsAtTheWatermark(t *testing.T) {
	validity := func(ms int64) func(*events.Settings) {
		return func(s *events.Settings) { s.SingleReceipts.Validity = duration(ms) }
	}
	m := playWith(t, DefaultLimits(), validity(hour), []line{
		{0, single("b", say("", "m1", "a")), ok},
		{hour + 1, single("a", readAll("", "b")), ok}, // too late for m1, but not for the watermark
		{hour + 1, configure(2, validity(0)), ok},
		{hour + 1, single("b", say("", "m2", "a")), ok},
		{hour + 2, single("a", readAll("", "b")), ok}, // m1 is no matter any more
	})
	if r := m.Readers(chat("a", "b"), "m1"); r != nil {
		t.Errorf("m1: readers %+v", r)
	}
	if r := m.Readers(chat("a", "b"), "m2"); len(r) != 1 {
		t.Errorf("m2: readers %+v", r)
	}
}

// A conversation read up to a message reads nothing after it.
func TestConversationReadUpto(t *testing.T) {
	upto := func(id string, ev events.Event) events.Event { ev.Message = id; return ev }
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, ask("g", "m1", "a"), ok},
		{0, ask("g", "m2", "a"), ok},
		{0, ask("g", "m3", "b"), ok},
		{0, ask("g", "m4", "c"), ok},
		{0, ask("g", "m5", "a"), ok},
		{0, recall("g", "m5", "a"), ok},
		{1, upto("m2", readAll("g", "b")), ok}, // m4 is left
		{2, upto("m1", readAll("g", "b")), dup},
		{2, upto("m2", readAll("g", "b")), dup},
		{3, strict(upto("x", readAll("g", "b"))), events.RejectedNotFound},
		{3, upto("x", readAll("g", "x")), events.RejectedNotMember},
		{4, upto("m5", readAll("g", "c")), ok}, // it has its place though it was recalled
		{5, single("b", say("", "s1", "a")), ok},
		{5, single("b", say("", "s2", "a")), ok},
		{5, single("a", say("", "s3", "b")), ok},
		{5, single("b", say("", "s4", "a")), ok},
		{6, single("a", upto("s1", readAll("", "b"))), ok},
	})
	for user, want := range map[string][]projections.ConversationView{
		"b": {{Group: "g", Unread: 1, LastReadAt: start + 1}, {Peer: "a", Unread: 2, LastReadAt: start + 6}},
		"c": {{Group: "g", LastReadAt: start + 4}},
	} {
		if got := m.Conversations(theApp, user); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	for id, want := range map[string]int{"s1": 1, "s2": 0, "s4": 0} {
		if got := len(m.Readers(chat("a", "b"), id)); got != want {
			t.Errorf("%s has %d readers, want %d", id, got, want)
		}
	}
}

// What comes before its message waits for it, and is decided in the order in which it came.
func TestEarlyRecallsAndConversationReads(t *testing.T) {
	upto := func(id string, ev events.Event) events.Event { ev.Message = id; return ev }
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
		{0, upto("m1", readAll("g", "b")), parks},
		{0, upto("m1", readAll("g", "b")), dup},
		{0, read("g", "m1", "b"), parks},
		{1, ask("g", "m1", "a"), ok},
		{2, recall("g", "m2", "a"), parks},
		{2, read("g", "m2", "b"), parks},
		{3, ask("g", "m2", "a"), ok}, // and gone; the read is late
		{4, recall("g", "m3", "b"), parks},
		{5, ask("g", "m3", "a"), ok}, // b may not
		{6, single("a", upto("s", readAll("", "b"))), parks},
		{7, single("b", say("", "s", "a")), ok},
	})
	want := []projections.ConversationView{{Group: "g", Unread: 1, LastReadAt: start + 1}, {Peer: "a", LastReadAt: start + 7}}
	if got := m.Conversations(theApp, "b"); !slices.Equal(got, want) {
		t.Errorf("b has %+v, want %+v", got, want)
	}
	if got := len(m.Readers(chat("a", "b"), "s")); got != 1 {
		t.Errorf("s has %d readers", got)
	}
	var rejected []events.Outcome
	for _, r := range m.Rejections(theApp) {
		rejected = append(rejected, r.Outcome)
	}
	if want := []events.Outcome{events.RejectedNotAllowed, events.RejectedNotFound}; !slices.Equal(rejected, want) {
		t.Errorf("rejections %v, want %v", rejected, want)
	}
}
