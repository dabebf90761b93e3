package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/receiptd/receiptd/events/eventlog"
)

// rosterKey has the [Roster] in the bucket.
const rosterKey = "roster"

// Roster is who has the log open to append to it, and with how many partitions. There is one for
// the cluster, in the bucket, and whoever changes it does so by compare-and-set: so a process is
// either on it before a repartition begins, which fences it then, or knows of that before it opens
// the log.
type Roster struct {
	// Partitions is how many the log has at least; 0 if it was never repartitioned.
	Partitions int `json:"partitions,omitempty"`
	// To is how many it is to have, by a repartition under way; 0 = there is none.
	To int `json:"to,omitempty"`
	// Publishers have it open, one of each node. Superseded may have: they never signed off, and
	// their node has signed on again. Such a process was killed, or stands still.
	Publishers []eventlog.PublisherID `json:"publishers,omitempty"`
	Superseded []eventlog.PublisherID `json:"superseded,omitempty"`
}

// supersededKept is how many of a node are kept: one that stood still while its node was started so
// often would not be fenced. It has lost its name.
const supersededKept = 8

// RepartitioningError: the log is being repartitioned, and cannot be opened.
type RepartitioningError struct {
	Roster Roster
}

// Error implements error.
func (e *RepartitioningError) Error() string {
	return fmt.Sprintf("cluster: the log is being repartitioned, to %d", e.Roster.To)
}

// SignOn puts a publisher on the roster. The error is a [*RepartitioningError] while it cannot open
// the log.
func SignOn(ctx context.Context, r Register, p eventlog.PublisherID) (Roster, error) {
	return change(ctx, r, rosterKey, func(now *Roster) (bool, error) {
		if now.To != 0 {
			return false, &RepartitioningError{*now}
		}
		if slices.Contains(now.Publishers, p) {
			return false, nil
		}
		now.supersede(p.Node)
		now.Publishers = append(now.Publishers, p)
		return true, nil
	})
}

// supersede is for a node that signs on again.
func (r *Roster) supersede(node string) {
	for i := range r.Publishers {
		if r.Publishers[i].Node == node {
			r.Superseded = append(r.Superseded, r.Publishers[i])
			r.Publishers = slices.Delete(r.Publishers, i, i+1)
			break
		}
	}
	of := func(p eventlog.PublisherID) bool { return p.Node == node }
	n := 0
	for _, p := range r.Superseded {
		if of(p) {
			n++
		}
	}
	for ; n > supersededKept; n-- {
		i := slices.IndexFunc(r.Superseded, of)
		r.Superseded = slices.Delete(r.Superseded, i, i+1)
	}
}

// AllSignedOn returns nil if every node that ever was, and was not forgotten, has the log open and
// is on the roster. A version that knows none would not be fenced.
func AllSignedOn(ctx context.Context, b *Bucket) error {
	names, err := Nodes(ctx, b)
	if err != nil {
		return err
	}
	now, err := ReadRoster(ctx, b)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(now.Publishers, func(p eventlog.PublisherID) bool { return p.Node == name }) {
			return fmt.Errorf("%w: %s has not signed on to the log: it is away, or has a version that cannot: start it with this one, or receiptctl cluster forget it", ErrRefused, name)
		}
	}
	return nil
}

// SignOff takes a publisher off the roster, of which nothing will come any more.
func SignOff(ctx context.Context, r Register, p eventlog.PublisherID) error {
	_, err := change(ctx, r, rosterKey, func(now *Roster) (bool, error) {
		is := func(x eventlog.PublisherID) bool { return x == p }
		before := len(now.Publishers) + len(now.Superseded)
		now.Publishers = slices.DeleteFunc(now.Publishers, is)
		now.Superseded = slices.DeleteFunc(now.Superseded, is)
		return len(now.Publishers)+len(now.Superseded) < before, nil
	})
	return err
}

// ReadRoster returns the roster.
func ReadRoster(ctx context.Context, r Register) (Roster, error) {
	return change(ctx, r, rosterKey, func(*Roster) (bool, error) { return false, nil })
}

// BeginRepartition begins a repartition of a log of so many partitions: from then on nobody opens
// it, until [FinishRepartition]. The error is [ErrRefused] if another one is under way.
func BeginRepartition(ctx context.Context, r Register, from, to int) error {
	_, err := change(ctx, r, rosterKey, func(now *Roster) (bool, error) {
		switch {
		case now.To == to:
			return false, nil
		case now.To != 0:
			return false, fmt.Errorf("%w: the log is being repartitioned, to %d", ErrRefused, now.To)
		case now.Partitions > from:
			return false, fmt.Errorf("%w: the log has %d partitions by now", ErrRefused, now.Partitions)
		}
		now.To = to
		return true, nil
	})
	return err
}

// FinishRepartition ends a repartition. Nobody is on the roster then: whoever was has signed off or
// is fenced.
func FinishRepartition(ctx context.Context, r Register, to int) error {
	_, err := change(ctx, r, rosterKey, func(now *Roster) (bool, error) {
		if now.To != to {
			return false, nil // another process was faster
		}
		*now = Roster{Partitions: to}
		return true, nil
	})
	return err
}

// OpenPublishers are those that may have had the log open when a repartition was announced and have
// not signed off: no other one can. It writes, since only a server that takes a write knows of all
// before it.
func OpenPublishers(ctx context.Context, r Register) ([]eventlog.PublisherID, error) {
	now, err := change(ctx, r, rosterKey, func(*Roster) (bool, error) { return true, nil })
	return slices.Concat(now.Publishers, now.Superseded), err
}
