package oracle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const wait = int64(72 * 3600 * 1000) // events.ParkedFor in milliseconds

func TestParkedReceiptsAreDecidedWhenTheirMessageComes(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c", "d"), ok},
		{1, content(read("g", "m", "c"), "first"), parks},
		{2, content(read("g", "m", "c"), "second"), dup},
		{2, strict(read("g", "m", "c")), events.RejectedNotFound},
		{3, read("g", "m", "b"), parks},
		{3, read("g", "m", "x"), events.RejectedNotMember}, // who can be no reader does not wait
		{3, read("g", "m", "a"), parks},                    // the sender, as it turns out
		{3, read("h", "m", "b"), parks},                    // an unknown group
		{3, single("a", read("", "m", "b")), parks},
		{3, deliver("a", "m", "b"), parks}, // another kind
		{3, deliver("a", "m", "b"), dup},
		{9, ask("g", "m", "a"), ok},
		{10, read("g", "m", "c"), dup},
		{11, single("b", say("", "m", "a")), ok},
	})
	if got, want := m.Readers(group("g"), "m"), []projections.Reader{
		{User: "c", ReadAt: start + 9, Content: "first"}, {User: "b", ReadAt: start + 9},
	}; !slices.Equal(got, want) {
		t.Errorf("readers %+v, want %+v", got, want)
	}
	if got, _ := m.Message(chat("a", "b"), "m"); got.Read != 1 || got.Delivered != 1 || got.FirstReadAt != start+11 {
		t.Errorf("single chat %+v", got)
	}
	if n := m.ParkedCount(theApp); n != 1 {
		t.Errorf("%d parked, want that of the unknown group", n)
	}
	want := []projections.Rejection{
		{Partition: 3, Sequence: 6, At: start + 3, Outcome: events.RejectedNotMember, Kind: events.MessageRead, Group: "g", User: "x", Message: "m"},
		{Partition: 3, Sequence: 4, At: start + 2, Outcome: events.RejectedNotFound, Kind: events.MessageRead, Group: "g", User: "c", Message: "m"},
	}
	if got := m.Rejections(theApp); !slices.Equal(got, want) {
		t.Errorf("rejections\n%+v, want\n%+v", got, want)
	}
	// The reads were applied in the entry of their message.
	if got := m.Apply(15, start+12, []events.Event{seen("a", 11), seen("a", 12)}); !slices.Equal(got, []events.Outcome{dup, ok}) {
		t.Errorf("seen: %v", got)
	}
}

func TestParkedReceiptsMeetTheRulesOfTheirMessagesMoment(t *testing.T) {
	off := func(s *events.Settings) { s.GroupReceipts.Enabled, s.DeliveryReceipts = false, false }
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, read("g", "plain", "b"), parks},
		{0, read("g", "m", "b"), parks},
		{0, read("g", "m", "c"), parks},
		{0, leave("g", "c"), ok},
		{0, join("g", "d"), ok},
		{0, read("g", "m", "d"), parks},
		{0, deliver("a", "s", "b"), parks},
		{0, single("a", read("", "s", "b")), parks},
		{0, read("g", "off", "b"), parks},
		{1, say("g", "plain", "a"), ok},
		{1, ask("g", "m", "a"), ok},
		{2, configure(2, off), ok},
		{2, say("g", "off", "a"), ok},
		{3, single("b", say("", "s", "a")), ok},
	})
	if c, _ := m.Counts(group("g"), "m"); c != (projections.Counts{Eligible: 2, Delivered: 2, Read: 2}) {
		t.Errorf("counts %+v", c)
	}
	if c, _ := m.Counts(chat("a", "b"), "s"); c != (projections.Counts{Eligible: 1, Delivered: 1, Read: 1}) {
		t.Errorf("counts %+v", c)
	}
	var got []string
	for _, r := range m.Rejections(theApp) {
		got = append(got, fmt.Sprint(r.Sequence, " ", r.Message, " ", r.Outcome.Reason()))
	}
	want := []string{"8 s delivery ack not open", "10 off group ack not open", "4 m not in group or chatroom", "2 plain group ack msg not found"}
	if !slices.Equal(got, want) {
		t.Errorf("rejections %q, want %q", got, want)
	}
}

func TestParkedReceiptsExpireAfterTheirTime(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, read("g", "m", "b"), parks},
		{0, read("g", "m2", "b"), parks},
		{1, read("g", "m", "c"), parks},
		{wait, ask("g", "m", "a"), ok}, // exactly the time: in time
		{wait, read("g", "m2", "c"), parks},
		{wait + 1, ask("g", "m2", "a"), ok}, // decided after the expiry
	})
	if c, _ := m.Counts(group("g"), "m"); c.Read != 2 {
		t.Errorf("m: counts %+v", c)
	}
	if r := m.Readers(group("g"), "m2"); len(r) != 1 || r[0].User != "c" {
		t.Errorf("m2: readers %+v", r)
	}
	want := []projections.Rejection{{Partition: 3, Sequence: 3, At: start + wait + 1, Outcome: events.RejectedParkedExpired,
		Kind: events.MessageRead, Group: "g", User: "b", Message: "m2"}}
	if got := m.Rejections(theApp); !slices.Equal(got, want) {
		t.Errorf("rejections %+v, want %+v", got, want)
	}
	m.Apply(8, start+wait+1, []events.Event{read("g", "m3", "b"), read("g", "m4", "b")})
	m.Poison(9, start+2*wait+2, "poison")
	if got := m.Rejections(theApp); m.ParkedCount(theApp) != 0 || got[0].Index != 1 || got[1].Index != 0 {
		t.Errorf("%d parked, rejections %+v", m.ParkedCount(theApp), got)
	}
}

func TestParkedReceiptsAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxParked, limits.MaxRejections = 2, 2
	m := play(t, limits, []line{
		{0, create("g", "a", "b", "c", "d", "e"), ok},
		{0, read("g", "m", "b"), parks},
		{0, read("g", "m", "c"), parks},
		{0, read("g", "m", "b"), dup},
		{0, read("g", "m", "d"), parks}, // pushes out b
		{0, read("g", "m", "b"), parks}, // pushes out c
		{0, read("g", "m", "e"), parks}, // pushes out d
		{1, ask("g", "m", "a"), ok},
	})
	var readers []string
	for _, r := range m.Readers(group("g"), "m") {
		readers = append(readers, r.User)
	}
	if want := []string{"b", "e"}; !slices.Equal(readers, want) {
		t.Errorf("readers %q, want %q", readers, want)
	}
	got := m.Rejections(theApp) // the latest two
	if len(got) != 2 || got[0].Sequence != 5 || got[1].Sequence != 3 || got[0].Outcome != events.RejectedParkedExpired {
		t.Errorf("rejections %+v, want those of d and c", got)
	}
}
