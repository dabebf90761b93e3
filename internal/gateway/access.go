package gateway

import (
	"errors"
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
)

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
	case m.Group == "" || s.GroupReceipts.Visibility != events.VisibleMembers:
		return ErrDenied
	case m.Standing == projections.Stranger:
		return ErrNotMember
	case m.Standing == projections.LateMember:
		return ErrDenied
	}
	return nil
}

// RoleIn returns the caller's role in a group. The admin may do what the owner may.
func (c Caller) RoleIn(g *projections.Group) events.Role {
	if c.Admin {
		return events.RoleOwner
	}
	return g.Role(c.User)
}

// MayActIn returns the caller's role in a group, and nil if it is at least the one given. The
// errors are [ErrNotMember] and [ErrDenied].
func (c Caller) MayActIn(g *projections.Group, least events.Role) (events.Role, error) {
	switch role := c.RoleIn(g); {
	case role >= least:
		return role, nil
	case role == events.RoleNone:
		return role, ErrNotMember
	default:
		return role, ErrDenied
	}
}
