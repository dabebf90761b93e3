package gateway

import (
	"cmp"
	"errors"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const app = "acme#chat"

var (
	admin  = Caller{Admin: true}
	ann    = Caller{App: app, User: "ann"}
	ben    = Caller{App: app, User: "ben"}
	nobody = Caller{}
)

func TestWhoMayUseAnApp(t *testing.T) {
	for _, c := range []struct {
		name   string
		caller Caller
		app    string
		want   bool
	}{
		{"admin", admin, app, true},
		{"admin, no app yet", admin, "", true},
		{"user of it", ann, app, true},
		{"user of another", ann, "acme#other", false},
		{"user of an app whose name begins alike", ann, "acme#cha", false},
		{"nobody", nobody, app, false},
		{"nobody, no app", nobody, "", false},
	} {
		if got := c.caller.MayUse(c.app); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestWhoMayActForAUser(t *testing.T) {
	for _, c := range []struct {
		name       string
		caller     Caller
		user       string
		may, being bool
	}{
		{"admin", admin, "ann", true, false},
		{"themselves", ann, "ann", true, true},
		{"somebody else", ben, "ann", false, false},
		{"other letters", ann, "Ann", false, false},
		{"nobody", nobody, "ann", false, false},
		{"nobody for nobody", nobody, "", false, false},
		{"admin without a name", admin, "", true, false},
	} {
		if got := c.caller.MayActFor(c.user); got != c.may {
			t.Errorf("%s: MayActFor %v", c.name, got)
		}
		if got := c.caller.Is(c.user); got != c.being {
			t.Errorf("%s: Is %v", c.name, got)
		}
	}
}

func TestWhoMaySeeAMessagesReaders(t *testing.T) {
	inGroup := projections.Message{From: "ann", Group: "team"}
	single := projections.Message{From: "ann", To: "ben"}
	for _, c := range []struct {
		name       string
		caller     Caller
		message    projections.Message
		visibility string
		standing   projections.Standing
		want       error
	}{
		{name: "admin, group", caller: admin, message: inGroup},
		{name: "admin, single chat", caller: admin, message: single},
		{name: "sender", caller: ann, message: inGroup, standing: projections.Sender},
		{name: "sender, single chat", caller: ann, message: single, standing: projections.Sender},
		{name: "reader, for senders only", caller: ben, message: inGroup, standing: projections.Recipient, want: ErrDenied},
		{name: "reader, for members", caller: ben, message: inGroup, visibility: events.VisibleMembers, standing: projections.Recipient},
		{name: "who came later, for members", caller: ben, message: inGroup, visibility: events.VisibleMembers, standing: projections.LateMember, want: ErrDenied},
		{name: "no member, for members", caller: ben, message: inGroup, visibility: events.VisibleMembers, want: ErrNotMember},
		{name: "recipient, single chat", caller: ben, message: single, visibility: events.VisibleMembers, standing: projections.Recipient, want: ErrDenied},
		{name: "nobody", caller: nobody, message: inGroup, want: ErrDenied},
		{name: "nobody, of nobody", caller: nobody, message: projections.Message{}, want: ErrDenied},
	} {
		settings := events.DefaultSettings()
		if c.visibility != "" {
			settings.GroupReceipts.Visibility = c.visibility
		}
		err := c.caller.MaySee(&projections.Found{Message: c.message, Standing: c.standing}, &settings)
		if !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestWhoMayActInAGroup(t *testing.T) {
	group := &projections.Group{Owner: "ann", Members: []projections.GroupMember{
		{User: "ann", Role: events.RoleOwner}, {User: "ben", Role: events.RoleAdmin}, {User: "cleo", Role: events.RoleMember},
	}}
	user := func(name string) Caller { return Caller{App: app, User: name} }
	for _, c := range []struct {
		caller Caller
		least  events.Role
		role   events.Role
		want   error
	}{
		{admin, events.RoleOwner, events.RoleOwner, nil},
		{user("ann"), events.RoleOwner, events.RoleOwner, nil},
		{user("ben"), events.RoleAdmin, events.RoleAdmin, nil},
		{user("ben"), events.RoleOwner, events.RoleAdmin, ErrDenied},
		{user("cleo"), events.RoleMember, events.RoleMember, nil},
		{user("cleo"), events.RoleAdmin, events.RoleMember, ErrDenied},
		{user("dan"), events.RoleMember, events.RoleNone, ErrNotMember},
		{user("dan"), events.RoleOwner, events.RoleNone, ErrNotMember},
		{user("dan"), events.RoleNone, events.RoleNone, nil},
		{nobody, events.RoleMember, events.RoleNone, ErrNotMember},
	} {
		role, err := c.caller.MayActIn(group, c.least)
		if role != c.role || !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%+v for role %v: %v, %v; want %v, %v", c.caller, c.least, role, err, c.role, c.want)
		}
	}
}

// groups are who is in which group, and who is shown nobody's reads, in a group or with a peer.
type groups struct {
	members map[string][]string
	hiders  map[[2]string]bool
	err     error
}

func (g groups) IsMember(_, group, user string) (bool, error) {
	return slices.Contains(g.members[group], user), g.err
}

func (g groups) SeesNobody(_, group, peer, user string) (bool, error) {
	return g.hiders[[2]string{cmp.Or(group, peer), user}], g.err
}

func TestWhoMaySeeMembers(t *testing.T) {
	state := groups{members: map[string][]string{"team": {"ann"}}}
	for _, c := range []struct {
		caller Caller
		group  string
		want   error
	}{
		{admin, "team", nil}, {admin, "no group", nil}, {ann, "team", nil},
		{ben, "team", ErrNotMember}, {ann, "no group", ErrNotMember}, {nobody, "team", ErrNotMember},
	} {
		if err := c.caller.MaySeeMembers(state, app, c.group); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%+v, %s: %v, want %v", c.caller, c.group, err, c.want)
		}
	}
	state.err = errors.New("disk")
	if err := ann.MaySeeMembers(state, app, "team"); !errors.Is(err, state.err) {
		t.Errorf("a state that fails: %v", err)
	}
}

func TestWhoIsShownReads(t *testing.T) {
	team, chat := events.Conversation{App: app, Group: "team"}, events.SingleChat(app, "ben", "ann")
	state := groups{hiders: map[[2]string]bool{{"team", "ann"}: true, {"ben", "ann"}: true, {"ann", "ben"}: true}}
	for _, c := range []struct {
		name       string
		caller     Caller
		in         events.Conversation
		reciprocal bool
		want       bool
	}{
		{"who hides, not reciprocal", ann, team, false, true},
		{"who hides", ann, team, true, false},
		{"who does not", ben, team, true, true},
		{"admin", admin, team, true, true},
		{"who hides from a peer, whose id is first", ann, chat, true, false},
		{"who hides from a peer, whose id is last", ben, chat, true, false},
		{"who hides from another", ann, events.SingleChat(app, "ann", "cleo"), true, true},
	} {
		settings := events.DefaultSettings()
		settings.Reciprocal = c.reciprocal
		if got, err := c.caller.SeesReads(state, c.in, &settings); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	settings := events.DefaultSettings()
	settings.Reciprocal, state.err = true, errors.New("disk")
	if _, err := ben.SeesReads(state, team, &settings); !errors.Is(err, state.err) {
		t.Errorf("a state that fails: %v", err)
	}
}

func TestWhoMaySeePositions(t *testing.T) {
	state := groups{members: map[string][]string{"team": {"ann", "ben"}}, hiders: map[[2]string]bool{{"team", "ann"}: true}}
	cleo := Caller{App: app, User: "cleo"}
	for _, c := range []struct {
		name       string
		caller     Caller
		visibility string
		reciprocal bool
		want       error
	}{
		{"admin", admin, "", true, nil},
		{"member, for senders only", ben, "", false, ErrDenied},
		{"member, for members", ben, events.VisibleMembers, true, nil},
		{"member who hides", ann, events.VisibleMembers, true, ErrHidesReads},
		{"member who hides, not reciprocal", ann, events.VisibleMembers, false, nil},
		{"no member", cleo, events.VisibleMembers, false, ErrNotMember},
		{"no member, for senders only", cleo, "", false, ErrNotMember},
	} {
		settings := events.DefaultSettings()
		settings.Reciprocal = c.reciprocal
		if c.visibility != "" {
			settings.GroupReceipts.Visibility = c.visibility
		}
		err := c.caller.MaySeePositions(state, app, "team", &settings)
		if !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
