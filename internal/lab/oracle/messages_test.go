package oracle

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

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
		{0, say("g", "m", "a"), dup}, // it came before
		{0, say("g", "m", "b"), events.RejectedNoGroup},
		{0, say("g", "new", "a"), events.RejectedNoGroup},
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
		s.GroupReceipts.MaxGroupSize = 3
	}
	playWith(t, DefaultLimits(), twoADay, []line{
		{0, create("g", "a", "b", "c"), ok},
		{0, create("big", "a", "b", "c", "d"), ok}, // oversize: neither uses it up nor is refused
		{0, ask("big", "m1", "a"), ok},
		{0, ask("big", "m2", "a"), ok},
		{0, ask("big", "m3", "a"), ok},
		{0, leave("big", "d"), ok},
		{0, ask("big", "m4", "a"), ok},
		{0, ask("big", "m5", "a"), ok},
		{0, ask("big", "m6", "a"), events.RejectedDailyLimit},
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

func TestRecallDropsReceiptsAndUnread(t *testing.T) {
	m := play(t, DefaultLimits(), []line{
		{0, withAdmins(create("g", "a", "b", "c", "d"), "e"), ok},
		{0, strict(recall("h", "m", "a")), events.RejectedNoMessage},
		{0, strict(recall("g", "m", "a")), events.RejectedNoMessage},
		{0, strict(single("b", recall("", "m", "a"))), events.RejectedNoMessage},
		{0, ask("g", "m1", "b"), ok},
		{0, readAll("g", "c"), ok}, // c counts m1 no more
		{0, leave("g", "d"), ok},
		{0, join("g", "d"), ok}, // d does not count m1 either
		{0, ask("g", "m2", "b"), ok},
		{1, read("g", "m1", "c"), ok},
		{1, recall("g", "m1", "c"), events.RejectedNotAllowed},
		{1, recall("g", "m1", "x"), events.RejectedNotAllowed},
		{1, recall("g", "m1", "e"), ok},  // an admin
		{1, recall("g", "m1", "b"), dup}, // the sender might have, too
		{1, recall("g", "m1", "c"), events.RejectedNotAllowed},
		{1, recall("g", "m1", "x"), events.RejectedNotAllowed},
		{1, recall("g", "none", "x"), events.RejectedNotAllowed}, // can be no sender
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
		{2, single("a", read("", "s1", "b")), events.RejectedNoMessage},
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
