package accounts

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

var manyInvitations = InvitationLimits{OfGroup: 1000, OfInvitee: 1000, OfInviter: 1000, OfApp: 1000}

func openInvitations(t *testing.T, nc *nats.Conn, limits InvitationLimits) *Accounts {
	t.Helper()
	a, err := Open(testContext(t), nc, Config{MaxUsers: 10, MaxGroups: 10, MaxGroupsOfUser: 10, Invitations: limits})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *Accounts) ask(t *testing.T, inviter, group, user string, valid time.Duration) error {
	t.Helper()
	return a.Invite(testContext(t), app, Invitation{Group: group, User: user, Inviter: inviter}, valid)
}

// of lists what waits for a user, as inviter>group.
func (a *Accounts) of(t *testing.T, user string, valid time.Duration) (list []string) {
	t.Helper()
	all, next, err := a.InvitationsOf(testContext(t), app, user, "", 100, valid)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	for _, x := range all {
		if since := time.Since(x.At); x.User != user || since < -time.Second || since > time.Minute {
			t.Errorf("%+v", x)
		}
		list = append(list, x.Inviter+">"+x.Group)
	}
	return list
}

// What waits is there after a restart, once for a user and a group whoever invites, in pages, by
// user and by group.
func TestInvitationsAreKept(t *testing.T) {
	nc := connection(t)
	a := openInvitations(t, nc, manyInvitations)
	names := []string{"ann", "ünïcode", "a.b*c>d"}
	for _, x := range []Invitation{
		{Group: "g1", User: "ben", Inviter: "ann"}, {Group: "g1", User: "ben", Inviter: "zoe"}, {Group: "g1", User: "ben", Inviter: "ann"},
		{Group: "g.*.>", User: "ben", Inviter: "ünïcode"}, {Group: "g2", User: "ben", Inviter: "a.b*c>d"}, {Group: "g1", User: "cleo", Inviter: "ann"},
	} {
		if err := a.Invite(testContext(t), app, x, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []*Accounts{a, openInvitations(t, nc, manyInvitations)} {
		if got := a.of(t, "ben", time.Hour); !slices.Equal(got, []string{names[1] + ">g.*.>", "ann>g1", names[2] + ">g2"}) {
			t.Errorf("of ben: %q", got)
		}
		page, next, err := a.InvitationsOf(testContext(t), app, "ben", "", 2, time.Hour)
		if err != nil || len(page) != 2 || next != "g1" {
			t.Errorf("%+v, %q, %v", page, next, err)
		}
		if page, next, err = a.InvitationsOf(testContext(t), app, "ben", next, 2, time.Hour); err != nil || len(page) != 1 || next != "" || page[0].Group != "g2" {
			t.Errorf("%+v, %q, %v", page, next, err)
		}
		into, _, err := a.InvitationsInto(testContext(t), app, "g1", "", 10, time.Hour)
		if err != nil || len(into) != 2 || into[0].User != "ben" || into[1].User != "cleo" {
			t.Errorf("%+v, %v", into, err)
		}
		if list, _, err := a.InvitationsOf(testContext(t), "acme#other", "ben", "", 10, time.Hour); err != nil || len(list) != 0 {
			t.Errorf("in another app: %+v, %v", list, err)
		}
	}
	if err := a.DropInvitation(testContext(t), app, "g1", "ben"); err != nil {
		t.Fatal(err)
	}
	if err := a.DropGroup(testContext(t), app, "ann", "g2"); err != nil {
		t.Fatal(err)
	}
	if got := a.of(t, "ben", time.Hour); !slices.Equal(got, []string{names[1] + ">g.*.>"}) {
		t.Errorf("of ben: %q", got)
	}
	if _, err := a.Invitation(testContext(t), app, "g1", "ben", time.Hour); !errors.Is(err, ErrNotInvited) {
		t.Error(err)
	}
}

// As many wait as may: into a group, of a user who was invited and of them by one inviter, by
// an inviter, and in an app. What was answered or has expired makes room, and what another process
// changed is seen.
func TestInvitationsAreBounded(t *testing.T) {
	nc := connection(t)
	limits := InvitationLimits{OfGroup: 3, OfInvitee: 20, OfInviter: 4, OfApp: 1000}
	a, b := openInvitations(t, nc, limits), openInvitations(t, nc, limits)
	want := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
	for i := range 3 {
		want("into the group", a.ask(t, fmt.Sprint("i", i), "g", fmt.Sprint("u", i), time.Hour), nil)
	}
	want("a fourth", a.ask(t, "i3", "g", "u3", time.Hour), ErrGroupInvitations)
	want("one that waits", a.ask(t, "i3", "g", "u2", time.Hour), nil)
	if err := b.DropInvitation(testContext(t), app, "g", "u0"); err != nil {
		t.Fatal(err)
	}
	want("after another process took one", a.ask(t, "i3", "g", "u3", time.Hour), nil)
	want("once more", a.ask(t, "i4", "g", "u4", time.Hour), ErrGroupInvitations)

	want("of one inviter", a.ask(t, "zoe", "g1", "ben", time.Hour), nil)
	want("of one inviter", a.ask(t, "zoe", "g2", "ben", time.Hour), nil)
	want("beyond the share of one inviter", a.ask(t, "zoe", "g3", "ben", time.Hour), ErrInviteeInvitations)
	want("of another inviter", a.ask(t, "ann", "g3", "ben", time.Hour), nil)
	for i := range 17 {
		want("of others", a.ask(t, fmt.Sprint("j", i), fmt.Sprint("h", i), "ben", time.Hour), nil)
	}
	want("the last but one too many", a.ask(t, "jane", "h", "ben", time.Hour), ErrInviteeInvitations)

	want("by zoe", a.ask(t, "zoe", "g4", "cleo", time.Hour), nil)
	want("by zoe", a.ask(t, "zoe", "g4", "dan", time.Hour), nil)
	want("by zoe", a.ask(t, "zoe", "g4", "eve", time.Hour), ErrInviterInvitations)
	if err := a.DropInvitation(testContext(t), app, "g4", "dan"); err != nil {
		t.Fatal(err)
	}
	want("by zoe", a.ask(t, "zoe", "g4", "eve", time.Hour), nil)
	want("by zoe", openInvitations(t, nc, limits).ask(t, "zoe", "g4", "finn", time.Hour), ErrInviterInvitations)
	time.Sleep(2 * time.Millisecond) // longer than the millisecond that they last
	want("all have expired", a.ask(t, "zoe", "g4", "finn", time.Millisecond), nil)

	limits = manyInvitations
	limits.OfApp = 1
	want("in the app", openInvitations(t, nc, limits).ask(t, "x", "g9", "y", time.Hour), ErrAppInvitations)
}

// Invitations that are made at the same time keep to the limits as those do that are not.
func TestInvitationsAtTheSameTimeAreBounded(t *testing.T) {
	limits := manyInvitations
	limits.OfInviter = 5
	a := openInvitations(t, connection(t), limits)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := a.ask(t, "zoe", fmt.Sprint("g", i%3), fmt.Sprint("u", i), time.Hour); err != nil && !errors.Is(err, ErrInviterInvitations) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys, err := a.keys(testContext(t), invites(app, "", "", "zoe"))
	// Those under way while it is counted anew are not in the count.
	if err != nil || len(keys) < 5 || len(keys) > 10 {
		t.Errorf("%d wait, %v", len(keys), err)
	}
}

// An invitation ends with its time, by what the app says now, and is invited anew then.
func TestInvitationsExpire(t *testing.T) {
	a := openInvitations(t, connection(t), manyInvitations)
	if err := a.ask(t, "ann", "g1", "ben", time.Hour); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // longer than the 10 ms below
	if _, err := a.Invitation(testContext(t), app, "g1", "ben", time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := a.Invitation(testContext(t), app, "g1", "ben", 10*time.Millisecond); !errors.Is(err, ErrNotInvited) {
		t.Error(err)
	}
	if got := a.of(t, "ben", time.Hour); len(got) != 0 {
		t.Errorf("what has expired is kept: %q", got)
	}
	if err := a.ask(t, "zoe", "g1", "ben", time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := a.of(t, "ben", time.Hour); !slices.Equal(got, []string{"zoe>g1"}) {
		t.Errorf("%q", got)
	}
}

// What an earlier version kept of invitations can be answered, until it expires.
func TestInvitationsOfAnOlderVersion(t *testing.T) {
	a := openInvitations(t, connection(t), manyInvitations)
	if _, err := a.kv.PutString(testContext(t), banKey(app, "g1", "ben"), invitedOnce); err != nil {
		t.Fatal(err)
	}
	if banned, err := a.Banned(testContext(t), app, "g1", "ben"); err != nil || banned {
		t.Errorf("%v, %v", banned, err)
	}
	if x, err := a.Invitation(testContext(t), app, "g1", "ben", time.Hour); err != nil || x.Group != "g1" || x.User != "ben" {
		t.Errorf("%+v, %v", x, err)
	}
	time.Sleep(2 * time.Millisecond) // longer than the millisecond below
	if _, err := a.Invitation(testContext(t), app, "g1", "ben", time.Millisecond); !errors.Is(err, ErrNotInvited) {
		t.Error(err)
	}
	if err := a.DropInvitation(testContext(t), app, "g1", "ben"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Invitation(testContext(t), app, "g1", "ben", time.Hour); !errors.Is(err, ErrNotInvited) {
		t.Error(err)
	}
}
