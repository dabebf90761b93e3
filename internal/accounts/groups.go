package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
)

// GroupProfile is what the SDK's group API keeps about a group besides its members, who are in the
// log.
type GroupProfile struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Custom      string `json:"custom,omitempty"`
	// Public and Approval say who may join without being added: everybody, if the group is public
	// and needs no approval.
	Public   bool `json:"public,omitempty"`
	Approval bool `json:"approval,omitempty"`
	// AllowInvites lets every member add others.
	AllowInvites bool `json:"allow_invites,omitempty"`
	MaxUsers     int  `json:"max_users,omitempty"`
}

// parseGroup reads a stored profile.
func parseGroup(text []byte) (p GroupProfile, err error) {
	stored := &p
	if err = json.Unmarshal(text, &stored); err == nil && stored == nil {
		err = errors.New("what is stored of the group is no profile")
	}
	return p, err
}

// Group returns a group's profile. A group that was not made with the SDK has the zero profile:
// nobody can join it without being added.
func (a *Accounts) Group(ctx context.Context, app, group string) (p GroupProfile, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := a.get(ctx, groupKey(app, group))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return p, nil
	case err == nil:
		p, err = parseGroup(found.value)
	}
	if err != nil {
		return p, fmt.Errorf("accounts: look up group: %w", err)
	}
	return p, nil
}

// ClaimGroup keeps the profile of a group that is about to be made, by a user or, if that is empty,
// by the backend, which may always make one. The error is [ErrTooManyGroups] if the user may make
// no more, or the app may have no more.
func (a *Accounts) ClaimGroup(ctx context.Context, app, user, group string, p GroupProfile) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.room("make group"); err != nil {
		return err
	}
	value, err := json.Marshal(p)
	if err != nil {
		return wrap("make group", err)
	}
	most := a.cfg.MaxGroups
	if user == "" {
		most = math.MaxInt
	}
	inApp, err := a.reserve(ctx, groupsOf(app), most, ErrTooManyGroups)
	if err != nil {
		return err
	}
	ofUser := func(bool) {}
	if user != "" {
		if ofUser, err = a.reserve(ctx, madeBy(app, user), a.cfg.MaxGroupsOfUser, ErrTooManyGroups); err != nil {
			inApp(false)
			return err
		}
	}
	_, err = a.kv.Put(ctx, groupKey(app, group), value)
	inApp(err == nil)
	if err == nil && user != "" {
		if _, err = a.kv.Put(ctx, madeKey(app, user, group), nil); err != nil {
			err = errors.Join(err, a.DropGroup(context.WithoutCancel(ctx), app, user, group))
		}
	}
	ofUser(err == nil)
	return wrap("make group", err)
}

// DropGroup forgets a group's profile, that its owner made it, the bans of its users, and the
// invitations into it.
func (a *Accounts) DropGroup(ctx context.Context, app, owner, group string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := errors.Join(a.drop(ctx, groupKey(app, group), groupsOf(app)), a.drop(ctx, madeKey(app, owner, group), madeBy(app, owner)),
		a.purge(ctx, bansOf(app, group)), a.dropInvitations(ctx, app, invitedInto(app, group)))
	if err != nil {
		return fmt.Errorf("accounts: forget group: %w", err)
	}
	return nil
}

// drop removes a key, and counts it no more. No marker of the removal stays, which would
// be counted.
func (a *Accounts) drop(ctx context.Context, key, counted string) error {
	_, err := a.get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err == nil {
		err = a.purge(ctx, key)
	}
	if err == nil {
		a.release(counted)
	}
	return err
}

// purge removes all keys that match a filter.
func (a *Accounts) purge(ctx context.Context, filter string) error {
	return a.stream.Purge(ctx, jetstream.WithPurgeSubject(subject(filter)))
}

// What the bucket has of a user who is not in a group, under the group and the user.
const (
	// banned: the user was removed, and may not join by themselves.
	banned = "removed"
	// invitedOnce is how an earlier version kept an [Invitation].
	invitedOnce = "invited"
)

// Ban keeps a user who was removed from a group from joining it by themselves.
func (a *Accounts) Ban(ctx context.Context, app, group, user string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.room("ban"); err != nil {
		return err
	}
	_, err := a.kv.PutString(ctx, banKey(app, group, user), banned)
	return wrap("ban", err)
}

// Banned reports whether a user may not join a group by themselves.
func (a *Accounts) Banned(ctx context.Context, app, group, user string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := a.get(ctx, banKey(app, group, user))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, wrap("look up ban", err)
	}
	return string(found.value) == banned, nil
}

// Unban lets a user join a group again.
func (a *Accounts) Unban(ctx context.Context, app, group, user string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return wrap("unban", a.purge(ctx, banKey(app, group, user)))
}
