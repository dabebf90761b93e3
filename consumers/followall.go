package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
)

// Begin says of a partition after which entry following it begins, and who takes its entries. It is
// called once for each, from the goroutine that the handler is called from.
type Begin func(ctx context.Context, partition int) (after uint64, h Handler, err error)

// FollowAll follows all partitions of a log, each by [Follow] in a goroutine of its own, until ctx
// ends, for which it returns nil, or one of them cannot go on, which ends the others.
//
// It hands over each entry once, also of a log that was repartitioned, in which a partition has the
// entries of the one that it forked from, up to the fork, as well: they go to the handler of that
// one, and only after they have does the new partition's get those that come then. So what happened
// in a conversation is handed over in order, whichever partition it was in.
//
// It is not for a fold, whose state for the new partition comes of all entries since the first.
func FollowAll(ctx context.Context, log Log, logger *slog.Logger, begin Begin) error {
	f := &followers{log: log, logger: logger, begin: begin}
	for range log.Partitions() {
		f.forked = append(f.forked, make(chan struct{}))
	}
	group, running := errgroup.WithContext(ctx)
	for k := range log.Partitions() {
		group.Go(func() error {
			if err := f.follow(running, k); err != nil {
				return fmt.Errorf("partition %d: %w", k, err)
			}
			return nil
		})
	}
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// followers are those of all partitions, in one call of FollowAll.
type followers struct {
	log    Log
	logger *slog.Logger
	begin  Begin
	// forked has a channel for each partition, which is closed when the one that it forked from
	// has handed over what they have in common.
	forked []chan struct{}
}

func (f *followers) follow(ctx context.Context, partition int) error {
	after, h, err := f.begin(ctx, partition)
	if err != nil {
		return err
	}
	if parent, upto := f.log.Fork(partition); parent >= 0 {
		after = max(after, upto)
		select {
		case <-f.forked[partition]:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o := Options{Partition: partition, After: after, Logger: f.logger}
	for child := partition + 1; child < f.log.Partitions(); child++ { // the later, the higher
		parent, upto := f.log.Fork(child)
		if parent != partition {
			continue
		}
		if o.Upto = upto; o.After < o.Upto {
			if err := Follow(ctx, f.log, o, h); err != nil {
				return err
			}
			o.After = o.Upto
		}
		close(f.forked[child])
	}
	o.Upto = 0
	return Follow(ctx, f.log, o, h)
}
