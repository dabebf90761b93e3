package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// commands are the changes that go to all partitions.
type commands struct {
	log       *eventlog.Log
	projector folds
	users     *userLocks
}

// folds are the state as commands ask for it: that of the folds here, or of a node of a cluster.
type folds interface {
	gateway.Outcomer
	alertFolds
	Revisions() map[string][]uint64
	KnowsDevice(partition int, app, user, device string) (known bool, err error)
	SummaryAt(partition int, app, user, device string) (s projections.Summary, upto uint64, err error)
	WaitFor(ctx context.Context, partition int, sequence uint64) error
	UserSettings(app, user string) ([]projections.UserSettings, error)
	UserSettingsIn(app, group, peer, user string) (projections.UserSettings, error)
}

// Configure implements [httpapi.Commands]. Partition 0 has the settings first: after a crash in the
// middle the others get them from it.
func (c *commands) Configure(ctx context.Context, app string, s events.Settings) (events.Settings, error) {
	revision, err := c.propose(ctx, app, s)
	if err != nil {
		return s, err
	}
	for k := 1; k < c.log.Partitions(); k++ {
		if _, err := c.configure(ctx, k, app, s, revision); err != nil {
			return s, err
		}
	}
	inForce, _, err := c.projector.FindApp(app)
	return inForce, err
}

// propose puts settings in force in partition 0 and returns their revision. Of several that have
// the same revision the first in the log is applied, so that a revision stands for the same
// settings in every partition, whoever else configures the app and whatever became of an earlier
// try.
func (c *commands) propose(ctx context.Context, app string, s events.Settings) (revision uint64, err error) {
	for {
		revision = 1
		for _, r := range c.projector.Revisions()[app] {
			revision = max(revision, r+1)
		}
		if o, err := c.configure(ctx, 0, app, s, revision); err != nil || o == events.OutcomeApplied {
			return revision, err
		}
	}
}

func (c *commands) configure(ctx context.Context, partition int, app string, s events.Settings, revision uint64) (events.Outcome, error) {
	return c.apply(ctx, partition, events.Event{Kind: events.AppConfigured, App: app, Settings: &s, Revision: revision})
}

// Seen implements [gateway.Acknowledger].
func (c *commands) Seen(ctx context.Context, app, user, device string, upto []uint64) error {
	for k, sequence := range upto {
		if worth, err := c.worthSaying(k, app, user, device, sequence); err != nil {
			return err
		} else if !worth {
			continue
		}
		e := events.Event{Kind: events.StatisticSeen, App: app, User: user, Device: device, Upto: sequence}
		if _, err := c.apply(ctx, k, e); err != nil {
			return err
		}
	}
	return nil
}

// worthSaying reports whether an acknowledgement would change anything in a partition.
func (c *commands) worthSaying(partition int, app, user, device string, upto uint64) (bool, error) {
	if device != "" {
		if known, err := c.projector.KnowsDevice(partition, app, user, device); err != nil || !known {
			return true, err
		}
	}
	if upto == 0 {
		return false, nil
	}
	s, _, err := c.projector.SummaryAt(partition, app, user, device)
	return len(s.Items) > 0 || s.Dropped > 0, err
}

// apply appends an event to a partition, waits until it is folded and returns what was decided.
func (c *commands) apply(ctx context.Context, partition int, e events.Event) (events.Outcome, error) {
	t, err := c.log.SubmitTo(ctx, partition, []events.Event{e})
	if err != nil {
		return 0, err
	}
	if err := t.Wait(ctx); err != nil {
		return 0, err
	}
	at := t.Locate(0)
	list, err := c.projector.Outcomes(ctx, at.Partition, at.Sequence)
	switch {
	case errors.Is(err, projector.ErrOutcomeGone):
		return events.OutcomeDuplicate, nil // folded; whoever must know more tries again
	case err != nil:
		return 0, fmt.Errorf("wait for %v: %w", e.Kind, err)
	}
	return list[at.Index], nil
}

// reconcile waits until the folds have caught up and gives every partition the newest settings of
// each app.
func (c *commands) reconcile(ctx context.Context) error {
	for k := range c.log.Partitions() {
		_, last, err := c.log.Bounds(ctx, k)
		if err != nil {
			return err
		}
		if err := c.projector.WaitFor(ctx, k, last); err != nil {
			return err
		}
	}
	for app, revisions := range c.projector.Revisions() {
		newest := 0
		for k, r := range revisions {
			if r > revisions[newest] {
				newest = k
			}
		}
		settings, revision, _ := c.projector.SettingsAt(newest, app)
		for k, r := range revisions {
			if r == revisions[newest] {
				continue
			}
			if _, err := c.configure(ctx, k, app, settings, revision); err != nil {
				return err
			}
		}
	}
	return nil
}
