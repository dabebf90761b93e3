package oracle

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
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

func TestGroups(t *testing.T) {
	m := play(t, Limits{MaxGroupMembers: 5, MaxRejections: 100}, []line{
		// a is owner, c admin, b member.
		{0, withAdmins(create("g", "a", "b", "c", "a", "b"), "a", "c"), ok},
		{0, create("g", "a"), dup},
		{0, create("g", "b", "a"), events.RejectedGroupExists},
		{0, join("h", "a"), events.RejectedNoGroup},
		{0, leave("h", "a"), events.RejectedNoGroup},
		{0, role("h", "a", events.RoleAdmin), events.RejectedNoGroup},
		{0, dissolve("h"), events.RejectedNoGroup},
		{0, join("g", "a"), dup},
		{0, join("g", "d"), ok},
		{0, join("g", "e"), ok}, // the fifth
		{0, join("g", "f"), events.RejectedGroupFull},
		{0, leave("g", "f"), dup}, // never there
		{0, leave("g", "e"), ok},
		{0, leave("g", "e"), dup},
		{0, join("g", "f"), events.RejectedGroupFull}, // e still counts
		{0, join("g", "e"), ok},
		{0, role("g", "f", events.RoleAdmin), events.RejectedNotMember},
		{0, role("g", "a", events.RoleMember), events.RejectedNotAllowed},
		{0, role("g", "b", events.RoleMember), dup},
		{0, role("g", "b", events.RoleAdmin), ok},
		{0, role("g", "c", events.RoleMember), ok},
		{0, leave("g", "a"), ok},
		{0, role("g", "a", events.RoleAdmin), events.RejectedNotMember},
		{0, join("g", "a"), ok}, // the former owner is a member
		{0, create("g", "a"), dup},
		{0, role("g", "a", events.RoleMember), dup},
		{0, dissolve("g"), ok},
		{0, dissolve("g"), dup},
		{0, join("g", "d"), events.RejectedNoGroup},
		{0, leave("g", "d"), events.RejectedNoGroup},
		{0, role("g", "d", events.RoleAdmin), events.RejectedNoGroup},
		{0, create("g", "a"), events.RejectedGroupExists},
	})
	var members []string
	for _, u := range m.Members(theApp, "g") {
		members = append(members, u.User+" "+u.Role.String())
	}
	if want := []string{"a member", "c member", "b admin", "d member", "e member"}; !slices.Equal(members, want) {
		t.Errorf("members %q, want %q", members, want)
	}
	if list := m.Conversations(theApp, "a"); list != nil {
		t.Errorf("conversations %+v after the group was dissolved", list)
	}
}

func TestGroupMessagesAreDecidedInOrder(t *testing.T) {
	adminsOnly := func(s *events.Settings) { s.GroupReceipts.WhoMayRequest = events.WhoAdmins }
	off := func(s *events.Settings) { s.GroupReceipts.Enabled = false; adminsOnly(s) }
	m := play(t, DefaultLimits(), []line{
		{0, withAdmins(create("g", "a", "b"), "c"), ok},
		{0, say("h", "m", "a"), events.RejectedNoGroup},
		{0, say("g", "m", "x"), events.RejectedNotMember},
		{0, say("g", "m", "a"), ok},
		{0, ask("g", "m", "a"), dup},
		{0, say("g", "m", "x"), exists}, // before the membership
		{0, leave("g", "a"), ok},
		{0, say("g", "m", "a"), dup}, // before the membership
		{0, configure(2, adminsOnly), ok},
		{0, ask("g", "m2", "b"), events.RejectedPermission},
		{0, say("g", "m2", "b"), ok},
		{0, ask("g", "m3", "c"), ok},
		{0, join("g", "a"), ok},
		{0, ask("g", "m4", "a"), events.RejectedPermission}, // an owner no more
		{0, configure(3, off), ok},
		{0, ask("g", "m4", "c"), events.RejectedNotOpen},
		{0, ask("g", "m4", "b"), events.RejectedNotOpen}, // before the permission
		{0, ask("g", "m4", "x"), events.RejectedNotMember},
		{0, say("g", "m4", "b"), ok},
		{0, recall("g", "m4", "b"), ok},
		{0, say("g", "m4", "b"), dup},
		{0, say("g", "m4", "a"), exists},
		{0, dissolve("g"), ok},
		{0, say("g", "m", "a"), events.RejectedNoGroup},
	})
	asked := map[string]bool{"m": false, "m2": false, "m3": true, "m4": false}
	for _, msg := range m.AllMessages(theApp) {
		if msg.ReceiptRequested != asked[msg.ID] {
			t.Errorf("%s asked: %v", msg.ID, msg.ReceiptRequested)
		}
	}
}

func TestDailyLimitCountsByUTCDay(t *testing.T) {
	twoADay := func(s *events.Settings) {
		s.GroupReceipts.MaxRequestsPerGroupPerDay = 2
		s.GroupReceipts.MaxGroupSize = 2
	}
	playWith(t, DefaultLimits(), twoADay, []line{
		{0, create("g", "a", "b", "c"), ok}, // oversize: counts too
		{0, create("h", "a", "b"), ok},
		{0, ask("g", "m1", "a"), ok},
		{0, say("g", "m2", "a"), ok},
		{1, recall("g", "m1", "a"), ok},
		{days - 1, ask("g", "m3", "a"), ok},
		{days - 1, ask("g", "m4", "a"), events.RejectedDailyLimit},
		{days - 1, ask("g", "m3", "a"), dup},
		{days - 1, ask("h", "m4", "a"), ok},
		{days, ask("g", "m4", "a"), ok},
		{days - 1, ask("g", "m5", "a"), ok}, // the clock stays at the new day
		{days - 1, ask("g", "m6", "a"), events.RejectedDailyLimit},
		{days, configure(2, nil), ok},
		{days, ask("g", "m6", "a"), ok},
		{days, configure(3, twoADay), ok},
		{days, ask("g", "m7", "a"), events.RejectedDailyLimit},
	})
}

func TestSizeLimitIsFrozenAtSending(t *testing.T) {
	for _, c := range []struct {
		members, limit   int
		eligible         int
		readBy, readLate events.Outcome // by u1, then after the limit was lifted
	}{
		{members: 199, limit: 200, eligible: 198, readBy: ok, readLate: ok},
		{members: 200, limit: 200, eligible: 199, readBy: ok, readLate: ok},
		{members: 201, limit: 200, eligible: 0, readBy: dup, readLate: dup},
		{members: 201, limit: 0, eligible: 200, readBy: ok, readLate: ok},
		{members: 1, limit: 1, eligible: 0, readBy: events.RejectedNotMember, readLate: events.RejectedNotMember},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.members, c.limit), func(t *testing.T) {
			var members []string
			for i := range c.members - 1 {
				members = append(members, fmt.Sprint("u", i+1))
			}
			limit := func(n int) func(*events.Settings) {
				return func(s *events.Settings) { s.GroupReceipts.MaxGroupSize = n }
			}
			m := playWith(t, DefaultLimits(), limit(c.limit), []line{
				{0, create("g", "a", members...), ok},
				{0, ask("g", "m", "a"), ok},
				{0, read("g", "m", "u1"), c.readBy},
				{0, configure(2, limit(0)), ok},
				{0, leave("g", "u3"), map[bool]events.Outcome{true: ok, false: dup}[c.members > 3]},
				{0, read("g", "m", "u2"), c.readLate},
				{0, join("g", "late"), ok},
			})
			msg, _ := m.Message(group("g"), "m")
			wantRead := 0
			if c.readBy == ok {
				wantRead = 2
			}
			if msg.Eligible != c.eligible || msg.Read != wantRead || !msg.ReceiptRequested {
				t.Errorf("message %+v, want %d eligible and %d reads", msg, c.eligible, wantRead)
			}
		})
	}
}

func TestSpansOfAMemberWhoComesAndGoes(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, ask("g", "m1", "a"), ok},
		{0, leave("g", "b"), ok},
		{0, read("g", "m1", "b"), events.RejectedNotMember},
		{0, ask("g", "m2", "a"), ok},
		{0, join("g", "b"), ok},
		{0, join("g", "d"), ok},
		{0, ask("g", "m3", "a"), ok},
		{1, read("g", "m1", "b"), ok}, // was there, and is again
		{2, read("g", "m2", "b"), events.RejectedNotFound},
		{3, read("g", "m3", "b"), ok},
		{4, read("g", "m2", "d"), events.RejectedNotFound},
		{5, read("g", "m3", "d"), ok},
		{6, leave("g", "d"), ok},
		{6, read("g", "m3", "d"), dup}, // d has read it: that comes before the membership
		{6, read("g", "m2", "d"), events.RejectedNotMember},
		{6, read("g", "m3", "x"), events.RejectedNotMember},
	})
	for id, want := range map[string]struct {
		readers, nonReaders []string
	}{
		"m1": {[]string{"b"}, []string{"c"}},
		"m2": {nil, []string{"c"}},
		"m3": {[]string{"b", "d"}, []string{"c"}},
	} {
		var readers []string
		for _, r := range m.Readers(group("g"), id) {
			readers = append(readers, r.User)
		}
		if non := m.NonReaders(group("g"), id); !slices.Equal(readers, want.readers) || !slices.Equal(non, want.nonReaders) {
			t.Errorf("%s: readers %q, nonreaders %q, want %q", id, readers, non, want)
		}
		if c, _ := m.Counts(group("g"), id); c.Read != len(readers) || c.Eligible != len(readers)+1 || c.Delivered != c.Read {
			t.Errorf("%s: counts %+v", id, c)
		}
	}
}

func TestNonReadersAreInTheOrderTheyBecameMembers(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, withAdmins(create("g", "o", "m2", "m1"), "a2", "a1"), ok},
		{0, join("g", "j"), ok},
		{0, leave("g", "m2"), ok},
		{0, join("g", "m2"), ok}, // keeps the first place
		{0, ask("g", "m", "a1"), ok},
	})
	if got, want := m.NonReaders(group("g"), "m"), []string{"o", "a2", "m2", "m1", "j"}; !slices.Equal(got, want) {
		t.Errorf("nonreaders %q, want %q", got, want)
	}
}

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
		{7, deliver("a", "m", "b"), events.RejectedDeliveryOff},
		{7, single("a", read("", "m2", "b")), dup}, // the group switch is not for single chats
		{7, dissolve("g"), ok},
		{7, read("g", "m", "c"), events.RejectedNotOpen}, // the switch before the group
		{8, configure(3, small), ok},
		{8, read("g", "m", "c"), events.RejectedNoGroup},
		{8, read("g", "none", "c"), events.RejectedNoGroup}, // never parked
	})
	want := []projections.Message{
		{ID: "m", From: "a", Group: "g", SentAt: start, ReceiptRequested: true,
			Counts: projections.Counts{Eligible: 2, Delivered: 1, Read: 1}, FirstReadAt: start + 1, LastReadAt: start + 1},
		{ID: "m", From: "a", To: "b", SentAt: start + 3,
			Counts: projections.Counts{Eligible: 1, Delivered: 1, Read: 1}, FirstReadAt: start + 5, LastReadAt: start + 5},
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
		{2*hour + 1, deliver("a", "m2", "b"), events.RejectedNotFound},
		{2*hour + 1, single("a", read("", "m2", "b")), events.RejectedNotFound},
		// That it was delivered does not make it read.
		{2*hour + 1, single("a", read("", "m", "b")), events.RejectedNotFound},
		// The settings in force decide.
		{2*hour + 1, configure(2, validity(3*hour)), ok},
		{2*hour + 1, read("g", "m", "c"), ok},
		{2*hour + 1, single("a", read("", "m2", "b")), ok},
		{400 * days, configure(3, validity(0)), ok},
		{400 * days, read("g", "m", "d"), ok},
		{400 * days, single("a", read("", "m", "b")), ok},
	})
}

func TestRecallDropsReceiptsAndUnread(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, withAdmins(create("g", "a", "b", "c", "d"), "e"), ok},
		{0, recall("h", "m", "a"), events.RejectedNoGroup},
		{0, recall("g", "m", "a"), events.RejectedNoMessage},
		{0, single("b", recall("", "m", "a")), events.RejectedNoMessage},
		{0, ask("g", "m1", "b"), ok},
		{0, readAll("g", "c"), ok}, // c counts m1 no more
		{0, leave("g", "d"), ok},
		{0, join("g", "d"), ok}, // d does not count m1 either
		{0, ask("g", "m2", "b"), ok},
		{1, read("g", "m1", "c"), ok},
		{1, recall("g", "m1", "c"), events.RejectedNotAllowed},
		{1, recall("g", "m1", "x"), events.RejectedNotAllowed},
		{1, recall("g", "m1", "e"), ok}, // an admin
		{1, recall("g", "m1", "c"), dup},
		{1, recall("g", "m1", "x"), dup}, // before the permission
		{1, leave("g", "b"), ok},
		{1, recall("g", "m2", "b"), ok}, // the sender may even from outside
		{1, ask("g", "m3", "c"), ok},
		{1, leave("g", "e"), ok},
		{1, recall("g", "m3", "e"), events.RejectedNotAllowed}, // an admin no more
		{1, recall("g", "m3", "a"), ok},                        // the owner
		{1, ask("g", "m4", "a"), ok},
		{2, single("b", say("", "s1", "a")), ok},
		{2, single("b", say("", "s2", "a")), ok},
		{2, single("a", recall("", "s1", "b")), events.RejectedNotAllowed},
		{2, deliver("a", "s1", "b"), ok},
		{2, single("b", recall("", "s1", "a")), ok},
		{2, single("a", read("", "s1", "b")), events.RejectedNotFound},
		{3, dissolve("g"), ok},
		{3, recall("g", "m4", "a"), events.RejectedNoGroup},
	})
	for id, want := range map[string]projections.Counts{"m1": {}, "m2": {}, "m3": {}, "m4": {Eligible: 2}} {
		msg, _ := m.Message(group("g"), id)
		if msg.Counts != want || msg.Recalled != (id != "m4") || msg.FirstReadAt != 0 || msg.LastReadAt != 0 {
			t.Errorf("%+v, want counts %+v", msg, want)
		}
	}
	if msg, _ := m.Message(chat("a", "b"), "s1"); msg.Counts != (projections.Counts{}) || !msg.Recalled {
		t.Errorf("%+v, want no counts", msg)
	}
	if list := m.Summary(theApp, "b"); list != nil {
		t.Errorf("summary %+v of recalled messages", list)
	}
	unread := map[string]int{}
	for _, u := range m.Members(theApp, "g") {
		unread[u.User] = u.Unread
	}
	if want := map[string]int{"a": 0, "c": 1, "d": 1}; !reflect.DeepEqual(unread, want) {
		t.Errorf("unread %v, want %v", unread, want)
	}
	if got, want := m.Conversations(theApp, "b"), []projections.ConversationView{{Peer: "a", Unread: 1}}; !slices.Equal(got, want) {
		t.Errorf("conversations %+v, want %+v", got, want)
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
