package accounts

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

// Invitation asks a user whether they want to be in a group, and was not answered yet.
type Invitation struct {
	Group, User string
	// Inviter is who asked; empty if an earlier version kept it.
	Inviter string
	// At is when, by the broker's clock.
	At time.Time
}

// InvitationLimits bound the invitations that wait at the same time. All are required.
type InvitationLimits struct {
	// OfGroup bounds those into a group, OfInvitee those of a user who was invited, OfInviter those
	// of a user who invited others, and OfApp all.
	OfGroup, OfInvitee, OfInviter, OfApp int
}

// inviterShare is the part of a user's invitations that one inviter may have made, so that nobody
// keeps others from inviting them.
const inviterShare = 10

// sweptAtOnce bounds the expired invitations that one call removes.
const sweptAtOnce = 100

// What [Accounts.Invite] and [Accounts.Invitation] refuse.
var (
	// ErrNotInvited: no invitation waits.
	ErrNotInvited = errors.New("accounts: not invited")
	// ErrGroupInvitations: as many invitations into the group wait as may.
	ErrGroupInvitations = errors.New("accounts: too many invitations into the group wait")
	// ErrInviteeInvitations: as many invitations of the user wait as may, or as one inviter may
	// have made.
	ErrInviteeInvitations = errors.New("accounts: too many invitations of the user wait")
	// ErrInviterInvitations: as many invitations wait as one user may have made.
	ErrInviterInvitations = errors.New("accounts: too many invitations by the user wait")
	// ErrAppInvitations: as many invitations wait in the app as may.
	ErrAppInvitations = errors.New("accounts: too many invitations wait in the app")
)

// An invitation is a key without a value. So it is there or not, in one step, and what is in the
// key is what it can be looked for by: invitee, group and inviter.
func invites(app, user, group, inviter string) string {
	token := func(s string) string {
		if s == "" {
			return "*"
		}
		return encode(s)
	}
	return "invites." + encode(app) + "." + token(user) + "." + token(group) + "." + token(inviter)
}

func invitedInto(app, group string) string { return invites(app, "", group, "") }

// parseInvitation reads a key.
func parseInvitation(key string, at time.Time) (x Invitation, err error) {
	parts := strings.Split(key, ".")
	if len(parts) != 5 || parts[0] != "invites" {
		return Invitation{}, fmt.Errorf("accounts: %q is no invitation", key)
	}
	for i, to := range []*string{&x.User, &x.Group, &x.Inviter} {
		// Strict, as what is removed by the key that the names make has to be this one.
		text, err := base64.RawURLEncoding.Strict().DecodeString(parts[i+2])
		if err != nil || len(text) == 0 {
			return Invitation{}, errors.Join(fmt.Errorf("accounts: %q is no invitation", key), err)
		}
		*to = string(text)
	}
	x.At = at
	return x, nil
}

// bound is a limit that an invitation counts for, by the filter of what counts for it, too.
type bound struct {
	filter string
	most   int
	full   error
}

func (a *Accounts) bounds(app string, x Invitation) []bound {
	l := &a.cfg.Invitations
	return []bound{
		{invites(app, x.User, "", ""), l.OfInvitee, ErrInviteeInvitations},
		{invites(app, x.User, "", x.Inviter), max(l.OfInvitee/inviterShare, 1), ErrInviteeInvitations},
		{invitedInto(app, x.Group), l.OfGroup, ErrGroupInvitations},
		{invites(app, "", "", x.Inviter), l.OfInviter, ErrInviterInvitations},
		{invites(app, "", "", ""), l.OfApp, ErrAppInvitations},
	}
}

// Invite keeps an invitation; At is not looked at. One that waits stays as it is, by whomever it is
// and whenever it was made, unless it is older than valid. The errors are those above, and those of
// the store.
func (a *Accounts) Invite(ctx context.Context, app string, x Invitation, valid time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch _, err := a.waiting(ctx, app, x.Group, x.User, valid); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrNotInvited):
		return err
	}
	if err := a.room("invite"); err != nil {
		return err
	}
	a.inviting.RLock()
	err := a.keepInvitation(ctx, app, x)
	a.inviting.RUnlock()
	if !isFull(err) {
		return err
	}
	// What has expired makes room, and what other processes stored or removed is looked at. Nobody
	// may be between counting and storing meanwhile, or would not be found.
	a.inviting.Lock()
	defer a.inviting.Unlock()
	for _, b := range a.bounds(app, x) {
		if _, err := a.oldest(ctx, app, b.filter, valid); err != nil && !errors.Is(err, ErrNotInvited) {
			return err
		}
		a.recount(b.filter)
	}
	return a.keepInvitation(ctx, app, x)
}

// isFull reports whether an invitation met a limit.
func isFull(err error) bool {
	for _, full := range []error{ErrGroupInvitations, ErrInviteeInvitations, ErrInviterInvitations, ErrAppInvitations} {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}

// keepInvitation counts an invitation for its limits, and stores it.
func (a *Accounts) keepInvitation(ctx context.Context, app string, x Invitation) error {
	stored := false
	for _, b := range a.bounds(app, x) {
		done, err := a.reserve(ctx, b.filter, b.most, b.full)
		if err != nil {
			return err
		}
		defer func() { done(stored) }()
	}
	_, err := a.kv.Put(ctx, invites(app, x.User, x.Group, x.Inviter), nil)
	stored = err == nil
	return wrap("invite", err)
}

func (a *Accounts) releaseAll(list []bound) {
	for _, b := range list {
		a.release(b.filter)
	}
}

// oldest is the oldest invitation that matches a filter, and removes those before it, which are
// older than valid; of very many only some.
func (a *Accounts) oldest(ctx context.Context, app, filter string, valid time.Duration) (Invitation, error) {
	for range sweptAtOnce {
		m, err := leader.Next(ctx, a.nc, stream, 1, subject(filter))
		if errors.Is(err, leader.ErrNotFound) {
			break
		}
		if err != nil {
			return Invitation{}, wrap("look up invitation", err)
		}
		x, err := parseInvitation(strings.TrimPrefix(m.Subject, subject("")), m.Time)
		if err != nil || time.Since(x.At) <= valid {
			return x, err
		}
		if err := a.forget(ctx, app, x); err != nil {
			return Invitation{}, err
		}
	}
	return Invitation{}, ErrNotInvited
}

// forget removes an invitation that is there.
func (a *Accounts) forget(ctx context.Context, app string, x Invitation) error {
	if err := a.purge(ctx, invites(app, x.User, x.Group, x.Inviter)); err != nil {
		return wrap("forget invitation", err)
	}
	a.releaseAll(a.bounds(app, x))
	return nil
}

// Invitation returns the invitation of a user into a group that is not older than valid. The error
// is [ErrNotInvited] if there is none.
func (a *Accounts) Invitation(ctx context.Context, app, group, user string, valid time.Duration) (Invitation, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.waiting(ctx, app, group, user, valid)
}

func (a *Accounts) waiting(ctx context.Context, app, group, user string, valid time.Duration) (Invitation, error) {
	x, err := a.oldest(ctx, app, invites(app, user, group, ""), valid)
	if !errors.Is(err, ErrNotInvited) {
		return x, err
	}
	old, err := a.get(ctx, banKey(app, group, user))
	switch {
	case err == nil && string(old.value) == invitedOnce && time.Since(old.at) <= valid:
		return Invitation{Group: group, User: user, At: old.at}, nil
	case err != nil && !errors.Is(err, jetstream.ErrKeyNotFound):
		return Invitation{}, wrap("look up invitation", err)
	}
	return Invitation{}, ErrNotInvited
}

// DropInvitation forgets the invitation of a user into a group, if there is one.
func (a *Accounts) DropInvitation(ctx context.Context, app, group, user string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.dropInvitations(ctx, app, invites(app, user, group, "")); err != nil {
		return wrap("forget invitation", err)
	}
	old, err := a.get(ctx, banKey(app, group, user))
	switch {
	case err == nil && string(old.value) == invitedOnce:
		return wrap("forget invitation", a.purge(ctx, banKey(app, group, user)))
	case err != nil && !errors.Is(err, jetstream.ErrKeyNotFound):
		return wrap("forget invitation", err)
	}
	return nil
}

// dropInvitations removes all that match a filter.
func (a *Accounts) dropInvitations(ctx context.Context, app, filter string) error {
	keys, err := a.keys(ctx, filter)
	if err != nil || len(keys) == 0 {
		return err
	}
	if err := a.purge(ctx, filter); err != nil {
		return err
	}
	for _, key := range keys {
		if x, err := parseInvitation(key, time.Time{}); err == nil {
			a.releaseAll(a.bounds(app, x))
		}
	}
	return nil
}

// InvitationsOf lists a user's invitations no older than valid, one for each group, in the order
// of the groups' ids after the one given: at most limit, and the id that the next page begins
// after, empty if this is the last one. What an earlier version kept is not among them.
func (a *Accounts) InvitationsOf(
	ctx context.Context, app, user, after string, limit int, valid time.Duration,
) (list []Invitation, next string, err error) {
	of := invitationList{app, invites(app, user, "", ""), func(x *Invitation) string { return x.Group }}
	return a.listInvitations(ctx, of, after, limit, valid)
}

// InvitationsInto is as [Accounts.InvitationsOf] for those into a group, in the order of the users.
func (a *Accounts) InvitationsInto(
	ctx context.Context, app, group, after string, limit int, valid time.Duration,
) (list []Invitation, next string, err error) {
	of := invitationList{app, invitedInto(app, group), func(x *Invitation) string { return x.User }}
	return a.listInvitations(ctx, of, after, limit, valid)
}

// invitationList are the invitations of an app whose keys a filter finds, in the order of one of
// their names.
type invitationList struct {
	app, filter string
	name        func(*Invitation) string
}

func (a *Accounts) listInvitations(
	ctx context.Context, of invitationList, after string, limit int, valid time.Duration,
) (list []Invitation, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := a.oldest(ctx, of.app, of.filter, valid); err != nil && !errors.Is(err, ErrNotInvited) {
		return nil, "", err
	}
	keys, err := a.keys(ctx, of.filter)
	if err != nil {
		return nil, "", wrap("list invitations", err)
	}
	all := make([]Invitation, 0, len(keys))
	for _, key := range keys {
		x, err := parseInvitation(key, time.Time{})
		if err != nil {
			return nil, "", err
		}
		if of.name(&x) > after {
			all = append(all, x)
		}
	}
	// Two nodes may have kept one each, at the same time.
	slices.SortFunc(all, func(x, y Invitation) int {
		return cmp.Or(strings.Compare(of.name(&x), of.name(&y)), strings.Compare(x.Inviter, y.Inviter))
	})
	all = slices.CompactFunc(all, func(x, y Invitation) bool { return of.name(&x) == of.name(&y) })
	if len(all) > limit {
		all = all[:limit]
		next = of.name(&all[limit-1])
	}
	for _, x := range all {
		found, err := a.get(ctx, invites(of.app, x.User, x.Group, x.Inviter))
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound): // answered meanwhile
		case err != nil:
			return nil, "", wrap("list invitations", err)
		case time.Since(found.at) <= valid:
			x.At = found.at
			list = append(list, x)
		}
	}
	return list, next, nil
}
