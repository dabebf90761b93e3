package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Caller is who makes a request, as the admin key or a user token proves. The zero value is nobody,
// who may do nothing.
type Caller struct {
	// Admin is set for the bearer of the admin key. The other fields are then empty.
	Admin bool
	// App is the key of the user token's app, "org#app", and User its user.
	App, User string
	// Expires is when the user token ends.
	Expires time.Time
}

// Why a caller may not do something. Each edge has its own words for these.
var (
	// ErrDenied: the caller's role, or the app's settings, do not allow it.
	ErrDenied = errors.New("gateway: not allowed")
	// ErrNotMember: it is for members of the group, and the caller is none.
	ErrNotMember = errors.New("gateway: not a member of the group")
	// ErrHidesReads is an [ErrDenied]: the app's users see each other's reads or hide their own,
	// and the caller hides theirs.
	ErrHidesReads = fmt.Errorf("%w: whoever hides their own reads is shown nobody's", ErrDenied)
)

// Memberships knows who is in a group now. [projector.Projector] does.
type Memberships interface {
	IsMember(app, group, user string) (bool, error)
}

// Reciprocity knows who hides their reads in an app whose setting Reciprocal then shows them
// nobody's. [projector.Projector] does.
type Reciprocity interface {
	// SeesNobody reports whether a user is shown nobody's reads in a conversation: a group or the
	// chat with a peer, whichever is not empty.
	SeesNobody(app, group, peer, user string) (bool, error)
}

// MayUse reports whether the caller may know anything of an app.
func (c Caller) MayUse(app string) bool { return c.Admin || c.App == app && app != "" }

// MayActFor reports whether the caller may see and change what belongs to one user of the app.
func (c Caller) MayActFor(user string) bool { return c.Admin || c.Is(user) }

// Is reports whether the caller is this very user, which the admin is not.
func (c Caller) Is(user string) bool { return !c.Admin && c.User == user && user != "" }

// MaySee returns nil if the caller may see a message's counts and readers; the message was found
// for the caller's user. The errors are [ErrDenied] and [ErrNotMember].
func (c Caller) MaySee(m *projections.Found, s *events.Settings) error {
	switch {
	case c.Admin || c.Is(m.From):
		return nil
	case m.Group == "" || !membersSeeReaders(s):
		return ErrDenied
	case m.Standing == projections.Stranger:
		return ErrNotMember
	case m.Standing == projections.LateMember:
		return ErrDenied
	}
	return nil
}

// membersSeeReaders reports whether an app shows the readers of group messages to members.
func membersSeeReaders(s *events.Settings) bool {
	return s.GroupReceipts.Visibility == events.VisibleMembers
}

// MaySeeMembers returns nil if the caller may know who is in a group, and [ErrNotMember] if not:
// also where there is no such group, so that nobody learns from the answer whether there is one.
func (c Caller) MaySeeMembers(state Memberships, app, group string) error {
	if c.Admin {
		return nil
	}
	if is, err := state.IsMember(app, group, c.User); err != nil || is {
		return err
	}
	return ErrNotMember
}

// SeesReads reports whether the caller is shown other users' reads in a conversation, of messages
// that they may see otherwise: not if they hide their own there and the app's users see each
// other's reads or hide theirs.
func (c Caller) SeesReads(state Reciprocity, in events.Conversation, s *events.Settings) (bool, error) {
	if c.Admin || !s.Reciprocal {
		return true, nil
	}
	peer := in.A
	if peer == c.User {
		peer = in.B
	}
	nobody, err := state.SeesNobody(in.App, in.Group, peer, c.User)
	return !nobody, err
}

// MaySeePositions returns nil if the caller may see how far the members of a group have read: those
// may who see the readers of every message of it. It fails as [Caller.MaySeeMembers]
// does, and with [ErrHidesReads] or another [ErrDenied].
func (c Caller) MaySeePositions(state interface {
	Memberships
	Reciprocity
}, app, group string, s *events.Settings,
) error {
	err := c.MaySeeMembers(state, app, group)
	switch {
	case err != nil || c.Admin:
		return err
	case !membersSeeReaders(s):
		return ErrDenied
	}
	sees, err := c.SeesReads(state, events.Conversation{App: app, Group: group}, s)
	if err == nil && !sees {
		err = ErrHidesReads
	}
	return err
}

// roleIn returns the caller's role in a group. The admin may do what the owner may.
func (c Caller) roleIn(g *projections.Group) events.Role {
	if c.Admin {
		return events.RoleOwner
	}
	return g.Role(c.User)
}

// MayActIn returns the caller's role in a group, and nil if it is at least the one given. The
// errors are [ErrNotMember] and [ErrDenied].
func (c Caller) MayActIn(g *projections.Group, least events.Role) (events.Role, error) {
	switch role := c.roleIn(g); {
	case role >= least:
		return role, nil
	case role == events.RoleNone:
		return role, ErrNotMember
	default:
		return role, ErrDenied
	}
}
