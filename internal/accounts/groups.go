package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

// PutGroup keeps a group's profile.
func (a *Accounts) PutGroup(ctx context.Context, app, group string, p GroupProfile) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if a.cfg.Room != nil {
		if err := a.cfg.Room(maxAccountBytes); err != nil {
			return fmt.Errorf("accounts: keep group: %w", err)
		}
	}
	value, err := json.Marshal(p)
	if err == nil {
		_, err = a.kv.Put(ctx, groupKey(app, group), value)
	}
	if err != nil {
		return fmt.Errorf("accounts: keep group: %w", err)
	}
	return nil
}

// Group returns a group's profile. A group that was not made with the SDK has the zero profile:
// nobody can join it without being added.
func (a *Accounts) Group(ctx context.Context, app, group string) (p GroupProfile, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entry, err := a.get(ctx, groupKey(app, group))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return p, nil
	case err == nil:
		err = json.Unmarshal(entry.value, &p)
	}
	if err != nil {
		return p, fmt.Errorf("accounts: look up group: %w", err)
	}
	return p, nil
}

// DropGroup forgets a group's profile.
func (a *Accounts) DropGroup(ctx context.Context, app, group string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.kv.Purge(ctx, groupKey(app, group)); err != nil {
		return fmt.Errorf("accounts: forget group: %w", err)
	}
	return nil
}
