package cluster

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// roundMax bounds a round of barriers.
const roundMax = 30 * time.Second

// Log is the log that the nodes share. [eventlog.Log] is one.
type Log interface {
	Partitions() int
	Identity() uint64
	Bounds(ctx context.Context, partition int) (first, last uint64, err error)
	// SubmitTo queues events for a partition.
	SubmitTo(ctx context.Context, partition int, evs []events.Event) (*eventlog.Ticket, error)
	// ForgetPeer takes a node's own NATS server out of the servers' cluster, if it has one.
	ForgetPeer(ctx context.Context, node string) error
}

// Waiter knows how far this node has folded.
type Waiter interface {
	// WaitFor waits until a partition has folded an entry.
	WaitFor(ctx context.Context, partition int, sequence uint64) error
	// Apps are the keys of the apps that are known.
	Apps() []string
}

// FreshReads waits until this node's state is as new as the log, before a question is answered from
// it. Questions that wait at the same time share one look at the log.
type FreshReads struct {
	log            Log
	state          Waiter
	newest, strong rounds
}

// barrierUser is who the events of barriers are of. There is no such user: with nothing to see,
// the event changes nothing.
const barrierUser = "receiptd-barrier"

// NewFreshReads returns a FreshReads for a log and the state that this node folds from it.
func NewFreshReads(log Log, state Waiter) *FreshReads {
	f := &FreshReads{log: log, state: state}
	f.newest.do = f.each(func(ctx context.Context, k int) (uint64, error) {
		_, last, err := log.Bounds(ctx, k)
		return last, err
	})
	f.strong.do = func(ctx context.Context) error {
		if err := f.newest.do(ctx); err != nil {
			return err
		}
		apps := state.Apps()
		if len(apps) == 0 {
			return nil // nothing is there to be read
		}
		return f.each(func(ctx context.Context, k int) (uint64, error) { return f.append(ctx, k, apps[0]) })(ctx)
	}
	return f
}

// Strong returns when the state here has everything that was acknowledged before the call, by any
// node. Nothing that a NATS server says can prove that, since it may have been deposed, except for
// one thing: the acknowledgement of an entry. So an entry that changes nothing is appended to every
// partition, and folded up to.
func (f *FreshReads) Strong(ctx context.Context) error { return f.strong.join(ctx) }

// Newest returns when the state here has what the log holds as its leaders say. That is enough to
// find what another node has just made, and costs the log nothing; a leader that was deposed and
// has not noticed may say too little.
func (f *FreshReads) Newest(ctx context.Context) error { return f.newest.join(ctx) }

func (f *FreshReads) append(ctx context.Context, partition int, app string) (uint64, error) {
	t, err := f.log.SubmitTo(ctx, partition, []events.Event{{Kind: events.StatisticSeen, App: app, User: barrierUser, Upto: 1}})
	if err == nil {
		err = t.Wait(ctx)
	}
	if err != nil {
		return 0, err
	}
	return t.Locate(0).Sequence, nil
}

// each finds an entry of every partition and waits until it is folded.
func (f *FreshReads) each(entry func(ctx context.Context, partition int) (uint64, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for k := range f.log.Partitions() {
			group.Go(func() error {
				at, err := entry(ctx, k)
				if err != nil {
					return err
				}
				return f.state.WaitFor(ctx, k, at)
			})
		}
		return group.Wait()
	}
}
