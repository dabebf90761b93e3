package oracle

import (
	"maps"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
)

func TestGroups(t *testing.T) {
	m := play(t, Limits{MaxGroupMembers: 5, MaxEverMembers: 6, MaxRejections: 100}, []line{
		// a is owner, c admin, b member.
		{0, withAdmins(create("g", "a", "b", "c", "a", "b"), "a", "c"), ok},
		{0, withAdmins(create("g", "a", "b"), "c"), dup},
		{0, withAdmins(create("g", "a", "a", "b", "c"), "c", "c", "a"), dup}, // as sets
		{0, create("g", "a", "b", "c"), events.RejectedOtherAdmins},
		{0, withAdmins(create("g", "a"), "b", "c"), events.RejectedOtherAdmins},
		{0, withAdmins(create("g", "a"), "c"), events.RejectedOtherMembers},
		{0, withAdmins(create("g", "a", "b", "d"), "c"), events.RejectedOtherMembers},
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
		{0, join("g", "f"), ok}, // e no longer counts
		{0, join("g", "e"), events.RejectedGroupFull},
		{0, leave("g", "f"), ok},
		{0, join("g", "h"), events.RejectedGroupFull}, // the seventh ever
		{0, join("g", "e"), ok},
		{0, role("g", "f", events.RoleAdmin), events.RejectedNotMember},
		{0, role("g", "a", events.RoleMember), events.RejectedNotAllowed},
		{0, role("g", "b", events.RoleMember), dup},
		{0, role("g", "b", events.RoleAdmin), ok},
		{0, role("g", "c", events.RoleMember), ok},
		{0, leave("g", "a"), ok},
		{0, role("g", "a", events.RoleAdmin), events.RejectedNotMember},
		{0, join("g", "a"), ok},                          // the former owner is a member
		{0, withAdmins(create("g", "a", "b"), "c"), dup}, // as it was created, not as it is
		{0, role("g", "a", events.RoleMember), dup},
		{0, dissolve("g"), ok},
		{0, dissolve("g"), dup},
		{0, join("g", "d"), dup}, // what came before comes again
		{0, leave("g", "x"), dup},
		{0, role("g", "b", events.RoleAdmin), dup},
		{0, join("g", "x"), events.RejectedNoGroup},
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

func TestGroupIsHandedOver(t *testing.T) {
	give := func(user string, r events.Role) events.Event {
		return events.Event{App: theApp, Kind: events.GroupRole, Group: "g", User: user, Role: r}
	}
	m := play(t, DefaultLimits(), []line{
		{0, withAdmins(create("g", "o", "a", "b"), "d"), ok},
		{0, give("x", events.RoleOwner), events.RejectedNotMember},
		{0, give("o", events.RoleOwner), dup},
		{0, give("a", events.RoleOwner), ok},
		{0, give("a", events.RoleOwner), dup},
		{0, give("a", events.RoleMember), events.RejectedNotAllowed},
		{0, give("o", events.RoleMember), ok},
		{0, withAdmins(create("g", "o", "a", "b"), "d"), dup}, // how it was created has not changed
		{0, leave("g", "a"), ok},
		{0, give("b", events.RoleOwner), ok}, // of nobody
	})
	roles := map[string]events.Role{}
	for _, u := range m.Members(theApp, "g") {
		roles[u.User] = u.Role
	}
	want := map[string]events.Role{"o": events.RoleMember, "d": events.RoleAdmin, "b": events.RoleOwner}
	if !maps.Equal(roles, want) {
		t.Errorf("roles %v, want %v", roles, want)
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
