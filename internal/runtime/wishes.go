package runtime

import (
	"context"
	"hash/maphash"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// turns let one change of a user's settings be made at a time: what is set is made from what was.
// Users share a turn now and then.
type turns struct {
	seed  maphash.Seed
	slots [64]chan struct{}
}

func newTurns() *turns {
	t := &turns{seed: maphash.MakeSeed()}
	for i := range t.slots {
		t.slots[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for the turn of a user, who gives it back by calling done.
func (t *turns) take(ctx context.Context, app, user string) (done func(), err error) {
	slot := t.slots[maphash.String(t.seed, app+"#"+user)%uint64(len(t.slots))]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ConfigureUser implements [httpapi.Commands]. As with the settings of an app, partition 0 decides:
// of several changes with one revision the first in its log is applied.
func (c *commands) ConfigureUser(ctx context.Context, app, user string, change gateway.WishChange) (projections.Wishes, error) {
	done, err := c.turns.take(ctx, app, user)
	if err != nil {
		return projections.Wishes{}, err
	}
	defer done()
	for {
		all, err := c.projector.Wishes(app, user)
		if err != nil {
			return projections.Wishes{}, err
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
func (c *commands) ConfigureUserIn(ctx context.Context, app, group, peer, user string, change gateway.WishChange) (projections.Wishes, error) {
	done, err := c.turns.take(ctx, app, user)
	if err != nil {
		return projections.Wishes{}, err
	}
	defer done()
	for {
		current, err := c.projector.WishesIn(app, group, peer, user)
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

func userConfigured(app, user string, w projections.Wishes) events.Event {
	return events.Event{
		Kind: events.UserConfigured, App: app, User: user,
		SendReads: w.Reads, SendDeliveries: w.Deliveries, Revision: w.Revision,
	}
}
