package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func wants(user string, revision uint64, reads, deliveries events.Choice) events.Event {
	return events.Event{App: theApp, Kind: events.UserConfigured, User: user, SendReads: reads, SendDeliveries: deliveries, Revision: revision}
}

func inside(group, peer string, ev events.Event) events.Event {
	ev.Group, ev.Peer = group, peer
	return ev
}

func mark(group, user string) events.Event {
	return inGroup(events.ConversationMarkedUnread, group, user)
}

func silent(ev events.Event) events.Event {
	ev.Silent = true
	return ev
}

const (
	hides = events.ChoiceHide
	sends = events.ChoiceSend
	quiet = events.OutcomeHidden
)

func TestHiddenReads(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c", "d"), ok},
		{0, wants("b", 2, hides, 0), ok},
		{0, wants("b", 1, sends, 0), dup}, // an older revision
		{0, wants("b", 2, sends, 0), dup}, // of two, the first
		{0, inside("h", "", wants("b", 1, hides, 0)), events.RejectedNoGroup},
		{0, inside("g", "", wants("x", 1, hides, 0)), events.RejectedNotMember},
		{0, inside("", "a", wants("b", 1, hides, 0)), events.RejectedNoMessage},
		{0, ask("g", "m", "a"), ok},
		{1, read("g", "m", "b"), quiet},
		{2, read("g", "m", "b"), dup},
		{3, read("g", "m", "c"), ok},
		{4, inside("g", "", wants("d", 1, hides, 0)), ok},
		{5, read("g", "m", "d"), quiet},
		{6, wants("b", 3, sends, 0), ok},
		{7, inside("g", "", wants("d", 2, 0, 0)), ok},
		{8, read("g", "m", "b"), dup}, // hidden once, hidden for good
		{8, read("g", "m", "d"), dup},
		{9, ask("g", "m2", "a"), ok},
		{9, read("g", "m2", "d"), ok},
		{9, inside("", "b", say("", "s", "a")), ok},
		{9, inside("", "b", silent(say("", "s2", "a"))), ok},
	})
	if got, _ := m.Counts(group("g"), "m"); got != (projections.Counts{Eligible: 3, Delivered: 1, Read: 1}) {
		t.Errorf("counts %+v", got)
	}
	if got := m.NonReaders(group("g"), "m"); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("nonreaders %q", got)
	}
	if got := m.Readers(group("g"), "m"); len(got) != 1 || got[0].User != "c" {
		t.Errorf("readers %+v", got)
	}
}

func TestHiddenReadsOfAChat(t *testing.T) {
	one := func(ev events.Event) events.Event { return single("a", ev) }
	m := play(t, DefaultLimits(), []line{
		{0, single("b", say("", "m1", "a")), ok},
		{0, single("b", say("", "m2", "a")), ok},
		{1, one(readAll("", "b")), ok},
		{2, wants("b", 1, hides, hides), ok},
		{3, single("b", say("", "m3", "a")), ok},
		{4, deliver("a", "m3", "b"), quiet},
		{5, deliver("a", "m3", "b"), dup},
		{6, one(readAll("", "b")), quiet},
		{7, one(readAll("", "b")), dup},
		{8, wants("b", 2, sends, sends), ok},
		{9, one(read("", "m3", "b")), dup},
		{9, deliver("a", "m3", "b"), dup},
		{9, single("b", say("", "m4", "a")), ok},
		{9, one(mark("", "b")), ok},
		{9, one(mark("", "b")), dup},
	})
	if got, _ := m.Counts(chat("a", "b"), "m3"); got != (projections.Counts{Eligible: 1}) {
		t.Errorf("counts %+v", got)
	}
	want := []projections.ConversationView{{Peer: "a", Unread: 1, LastReadAt: start + 6, Marked: true}}
	if got := m.Conversations(theApp, "b"); !slices.Equal(got, want) {
		t.Errorf("b's own list %+v", got)
	}
	// The chat was read twice; the author is shown the time that was not hidden.
	items := m.Summary(theApp, "a")
	if len(items) != 1 || items[0].Kind != projections.SummaryConversationRead || items[0].LastReadAt != start+1 {
		t.Errorf("a's summary %+v", items)
	}
}

func TestAppOverridesWhatUsersWant(t *testing.T) {
	for receipts, want := range map[events.ReadReceipts]events.Outcome{
		events.ReadReceiptsUser: quiet, events.ReadReceiptsAlways: ok, events.ReadReceiptsNever: quiet,
	} {
		playWith(t, DefaultLimits(), func(s *events.Settings) { s.ReadReceipts = receipts }, []line{
			{0, create("g", "a", "b", "c"), ok},
			{0, wants("b", 1, hides, hides), ok},
			{0, ask("g", "m", "a"), ok},
			{0, read("g", "m", "b"), want},
			{0, single("b", say("", "m", "a")), ok},
			{0, deliver("a", "m", "b"), map[bool]events.Outcome{true: ok, false: quiet}[receipts == events.ReadReceiptsAlways]},
		})
	}
	playWith(t, DefaultLimits(), func(s *events.Settings) { s.ReadReceipts = events.ReadReceiptsNever }, []line{
		{0, wants("b", 1, sends, sends), ok},
		{0, single("b", say("", "m", "a")), ok},
		{0, deliver("a", "m", "b"), ok},
		{0, single("a", read("", "m", "b")), quiet},
	})
}

func TestReciprocity(t *testing.T) {
	m := playWith(t, DefaultLimits(), func(s *events.Settings) { s.Reciprocal = true }, []line{
		{0, create("g", "a", "b"), ok},
		{0, wants("a", 1, hides, 0), ok},
		{0, ask("g", "m", "a"), ok},
		{0, read("g", "m", "b"), ok}, // b does not hide
		{0, single("b", say("", "m1", "a")), ok},
		{0, deliver("a", "m1", "b"), ok},
		{0, single("a", read("", "m1", "b")), ok},
		{0, single("b", say("", "m2", "a")), ok},
		{0, single("a", readAll("", "b")), ok}, // m2
	})
	if !m.SeesNobody(group("g"), "a") || m.SeesNobody(group("g"), "b") {
		t.Error("who hides sees nobody, and nobody else does")
	}
	items := m.Summary(theApp, "a")
	if len(items) != 1 || items[0].Message != "m1" || items[0].Kind != projections.SummaryDelivered || items[0].LastReadAt != 0 {
		t.Errorf("while a hides: %+v", items)
	}
	m.Apply(100, start, []events.Event{wants("a", 2, sends, 0)})
	if items := m.Summary(theApp, "a"); len(items) != 3 {
		t.Errorf("after that: %+v", items)
	}
}

// TestReadsThatCount is what was found: five messages read one by one.
func TestReadsThatCount(t *testing.T) {
	five := func() (lines []line) {
		lines = append(lines, line{0, create("g", "a", "b"), ok})
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			lines = append(lines, line{0, single("b", say("", id, "a")), ok}, line{0, ask("g", id, "a"), ok})
		}
		return append(lines, line{0, single("b", silent(say("", "6", "a"))), ok}, line{0, silent(ask("g", "6", "a")), ok})
	}
	one := func(at int64, id string) []line {
		return []line{{at, single("a", read("", id, "b")), ok}, {at, read("g", id, "b"), ok}}
	}
	for _, x := range []struct {
		by    events.UnreadBy
		reads []string
		want  int
		last  int64
		// the watermark
		chat, group int
	}{
		{events.UnreadByConversation, []string{"1", "2", "3", "4", "5"}, 5, 0, 0, 0},
		{events.UnreadByMessage, []string{"1", "2", "3", "4", "5"}, 0, start + 5, 5, 6},
		{events.UnreadByMessage, []string{"5", "4", "3", "2"}, 1, start + 4, 0, 0},
		{events.UnreadByMessage, []string{"2", "1", "4"}, 2, start + 3, 2, 2},
		{events.UnreadByMessage, []string{"6", "1"}, 4, start + 2, 1, 1},
		{events.UnreadByMessage, []string{"6", "5", "4", "3", "2", "1"}, 0, start + 6, 6, 6},
	} {
		lines := five()
		for i, id := range x.reads {
			lines = append(lines, one(int64(i+1), id)...)
		}
		m := playWith(t, DefaultLimits(), func(s *events.Settings) { s.UnreadBy = x.by }, lines)
		for _, c := range m.Conversations(theApp, "b") {
			if c.Unread != x.want || c.LastReadAt != 0 && c.LastReadAt != x.last || x.last != 0 && c.LastReadAt == 0 {
				t.Errorf("%v %q: %+v, want %d unread, last read at %d", x.by, x.reads, c, x.want, x.last)
			}
			name, watermark := group("g"), x.group
			if c.Peer != "" {
				name, watermark = chat("a", "b"), x.chat
			}
			if got := m.conversation(name).member("b").watermark; got != watermark {
				t.Errorf("%v %q in %v: the watermark is at %d, not %d", x.by, x.reads, name, got, watermark)
			}
		}
	}
}

func TestMarkedUnread(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b"), ok},
		{0, mark("h", "b"), events.RejectedNoGroup},
		{0, mark("g", "x"), events.RejectedNotMember},
		{0, single("a", mark("", "b")), events.RejectedNoMessage},
		{0, mark("g", "b"), ok},
		{0, mark("g", "b"), dup},
		{0, readAll("g", "b"), ok}, // nothing is unread, but the mark
		{0, readAll("g", "b"), dup},
		{0, say("g", "m1", "a"), ok},
		{0, say("g", "m2", "a"), ok},
		{0, readAll("g", "b"), ok},
		{0, mark("g", "b"), ok},
		{0, readUpto("g", "m1", "b"), dup}, // does not read to the end
		{0, readUpto("g", "m2", "b"), ok},
		{0, mark("g", "b"), ok},
		{0, leave("g", "b"), ok},
		{0, join("g", "b"), ok},
		{0, mark("g", "a"), ok},
	})
	for user, want := range map[string]bool{"a": true, "b": false} {
		if got := m.Conversations(theApp, user); len(got) != 1 || got[0].Marked != want {
			t.Errorf("%s: %+v", user, got)
		}
	}
}

func TestPositionsAreThoseThatAreShown(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, say("g", "m1", "a"), ok},
		{1, readAll("g", "b"), ok},
		{2, readAll("g", "c"), ok},
		{3, wants("b", 1, hides, 0), ok},
		{4, say("g", "m2", "a"), ok},
		{5, readAll("g", "b"), quiet},
		{6, readAll("g", "c"), ok},
		{7, wants("c", 1, hides, 0), ok},
		{8, wants("b", 2, sends, 0), ok},
	})
	want := []projections.MemberPosition{
		{User: "a"}, {User: "b", Watermark: 1, LastReadAt: start + 1}, {User: "c"}, // who hides now
	}
	if got := m.Positions(theApp, "g"); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func readUpto(group, message, user string) events.Event {
	ev := readAll(group, user)
	ev.Message = message
	return ev
}
