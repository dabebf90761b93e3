package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// at gives an event a time, in milliseconds after start.
func at(ms int64, ev events.Event) events.Event {
	ev.Time = start + ms
	return ev
}

func reported(s *events.Settings) { s.ReceiptTime = events.ReceiptTimeReported }

// TestReportedTimes: a receipt is of the time that it reports, within the bounds that clocks which
// are wrong run into.
func TestReportedTimes(t *testing.T) {
	m := playWith(t, DefaultLimits(), reported, []line{
		{0, create("g", "a", "b", "c", "d", "e", "f", "h", "i"), ok},
		{10 * hour, ask("g", "m", "a"), ok},
		{11 * hour, read("g", "m", "b"), ok},
		{20 * hour, at(15*hour, read("g", "m", "c")), ok},
		{20 * hour, at(15*hour, read("g", "m", "c")), dup},
		{20 * hour, at(16*hour, read("g", "m", "c")), dup}, // whatever it reports
		{20 * hour, at(21*hour, read("g", "m", "d")), ok},  // a clock that is ahead
		{20 * hour, at(5*hour, read("g", "m", "e")), ok},   // before it was sent
		{40 * hour, at(12*hour, read("g", "m", "f")), ok},  // too long ago
		{82 * hour, at(82*hour, read("g", "m", "h")), ok},  // exactly the validity
		{90 * hour, at(82*hour, read("g", "m", "i")), ok},
	})
	want := []projections.Reader{
		{User: "e", ReadAt: start + 10*hour}, {User: "b", ReadAt: start + 11*hour}, {User: "c", ReadAt: start + 15*hour},
		{User: "f", ReadAt: start + 16*hour}, {User: "d", ReadAt: start + 20*hour}, {User: "h", ReadAt: start + 82*hour}, {User: "i", ReadAt: start + 82*hour},
	}
	if got := m.Readers(group("g"), "m"); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	msg, _ := m.Message(group("g"), "m")
	if msg.FirstReadAt != start+10*hour || msg.LastReadAt != start+82*hour {
		t.Errorf("%+v", msg)
	}
	if s := m.Summary(theApp, "a"); len(s) != 1 || s[0].LastReader != "i" || s[0].Count != 7 {
		t.Errorf("summary %+v", s)
	}
}

// TestReportedTimesEnd: validity is that of the time reported, and no longer than the app says.
func TestReportedTimesEnd(t *testing.T) {
	settings := func(s *events.Settings) {
		reported(s)
		s.MaxReportAge = duration(2 * hour)
	}
	playWith(t, DefaultLimits(), settings, []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, ask("g", "m", "a"), ok},
		{73 * hour, at(72*hour, read("g", "m", "b")), ok},
		{75 * hour, at(72*hour, read("g", "m", "c")), events.RejectedNotFound},
	})
	play(t, DefaultLimits(), []line{ // not where the time of arrival counts
		{0, create("g", "a", "b", "c"), ok},
		{0, ask("g", "m", "a"), ok},
		{73 * hour, at(72*hour, read("g", "m", "b")), events.RejectedNotFound},
	})
}

// TestReportedTimesOfAChat: conversation reads and deliveries are of the time reported, too; what
// was parked is not.
func TestReportedTimesOfAChat(t *testing.T) {
	m := playWith(t, DefaultLimits(), reported, []line{
		{0, single("b", say("", "m1", "a")), ok},
		{2 * hour, single("b", say("", "m2", "a")), ok},
		{5 * hour, at(3*hour, deliver("a", "m2", "b")), ok},
		{6 * hour, at(hour, single("a", readAll("", "b"))), ok},
		{7 * hour, at(hour, single("a", read("", "m3", "b"))), parks},
		{8 * hour, single("b", say("", "m3", "a")), ok},
	})
	for id, want := range map[string]int64{"m1": hour, "m2": 2 * hour, "m3": 8 * hour} {
		if got, _ := m.Message(chat("a", "b"), id); got.LastReadAt != start+want {
			t.Errorf("%s was read at %d", id, got.LastReadAt-start)
		}
	}
	if got, _ := m.Message(chat("a", "b"), "m2"); got.DeliveredAt != start+3*hour {
		t.Errorf("m2 was delivered at %d", got.DeliveredAt-start)
	}
	if c := m.Conversations(theApp, "b"); c[0].LastReadAt != start+hour {
		t.Errorf("last read at %d", c[0].LastReadAt-start)
	}
}

// TestLastReadOfHiddenReadsIsNotTold by a read that is shown and reports an earlier time.
func TestLastReadOfHiddenReadsIsNotTold(t *testing.T) {
	m := playWith(t, DefaultLimits(), reported, []line{
		{0, create("g", "a", "b"), ok},
		{0, say("g", "m1", "a"), ok},
		{hour, readAll("g", "b"), ok},
		{hour, wants("b", 1, hides, 0), ok},
		{2 * hour, say("g", "m2", "a"), ok},
		{9 * hour, readAll("g", "b"), quiet},
		{9 * hour, wants("b", 2, sends, 0), ok},
		{9 * hour, say("g", "m3", "a"), ok},
		{10 * hour, at(3*hour, readAll("g", "b")), ok},
	})
	if p := m.Positions(theApp, "g"); p[1].LastReadAt != start+3*hour {
		t.Errorf("told %d", p[1].LastReadAt-start)
	}
}
