package runtime

import (
	"context"
	"hash/maphash"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// userLocks let one change of a user's settings be made at a time: what is set is made from what
// was. Users share a lock now and then.
type userLocks struct {
	seed  maphash.Seed
	locks [64]chan struct{}
}

func newUserLocks() *userLocks {
	l := &userLocks{seed: maphash.MakeSeed()}
	for i := range l.locks {
		l.locks[i] = make(chan struct{}, 1)
	}
	return l
}

// lock waits for the lock of a user, which done gives back.
func (l *userLocks) lock(ctx context.Context, app, user string) (done func(), err error) {
	lock := l.locks[maphash.String(l.seed, app+"#"+user)%uint64(len(l.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ConfigureUser implements [httpapi.Commands]. As with the settings of an app, partition 0 decides:
// of several changes with one revision the first in its log is applied.
func (c *commands) ConfigureUser(ctx context.Context, app, user string, change gateway.UserSettingsChange) (projections.UserSettings, error) {
	done, err := c.users.lock(ctx, app, user)
	if err != nil {
		return projections.UserSettings{}, err
	}
	defer done()
	for {
		all, err := c.projector.UserSettings(app, user)
		if err != nil {
			return projections.UserSettings{}, err
		}
		newest, same := all[0], true
		for _, w := range all {
			same = same && w == all[0]
			if w.Revision > newest.Revision {
				newest = w
			}
		}
		wanted := change.Of(newest)
		if same && wanted == newest {
			return wanted, nil // in force already: not worth an event
		}
		wanted.Revision++
		e := userConfigured(app, user, wanted)
		for k := range all {
			o, err := c.apply(ctx, k, e)
			if err != nil {
				return wanted, err
			}
			if k == 0 && o != events.OutcomeApplied {
				break // another program was faster
			}
			if k == len(all)-1 {
				return wanted, nil
			}
		}
	}
}

// ConfigureUserIn implements [httpapi.Commands].
func (c *commands) ConfigureUserIn(ctx context.Context, app, group, peer, user string, change gateway.UserSettingsChange) (projections.UserSettings, error) {
	done, err := c.users.lock(ctx, app, user)
	if err != nil {
		return projections.UserSettings{}, err
	}
	defer done()
	for {
		current, err := c.projector.UserSettingsIn(app, group, peer, user)
		if err != nil {
			return current, err
		}
		wanted := change.Of(current)
		if wanted == current {
			return wanted, nil
		}
		wanted.Revision++
		e := userConfigured(app, user, wanted)
		e.Group, e.Peer = group, peer
		o, err := c.apply(ctx, events.Partition(&e, c.log.Partitions()), e)
		switch {
		case err != nil:
			return wanted, err
		case o.Rejected(): // they have left meanwhile
			return wanted, projections.ErrNotFound
		case o == events.OutcomeApplied:
			return wanted, nil
		}
	}
}

func userConfigured(app, user string, w projections.UserSettings) events.Event {
	return events.Event{
		Kind: events.UserConfigured, App: app, User: user,
		SendReads: w.Reads, SendDeliveries: w.Deliveries, Revision: w.Revision,
	}
}
