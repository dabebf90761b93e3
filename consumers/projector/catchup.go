package projector

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
)

// CatchUp folds what the log held when it was opened and the state lacks, as Run does first, and
// returns how many events that were. It is for a tool on a stopped server's data: after a crash the
// state there is older than the log. It must not be called while Run runs. The error is
// [ErrNeedsArchive] if the log does not hold what the state lacks.
func (p *Projector) CatchUp(ctx context.Context) (folded uint64, err error) {
	counts := make([]uint64, len(p.workers))
	group, ctx := errgroup.WithContext(ctx)
	for k, w := range p.workers {
		group.Go(func() (err error) {
			if counts[k], err = w.catchUp(ctx); err != nil {
				return fmt.Errorf("catch up partition %d: %w", k, needsArchive(err))
			}
			return nil
		})
	}
	err = group.Wait()
	for _, n := range counts {
		folded += n
	}
	return folded, err
}

// catchUp folds up to the end that the log had. Checkpoints are made when much has changed, and by
// Close.
func (w *worker) catchUp(ctx context.Context) (folded uint64, err error) {
	end := w.endAtOpen.Load()
	defer w.proving.Wait() // Close would give it up
	if w.copyState() == copystate.Absent || w.outcomes.last() >= end {
		return 0, nil
	}
	err = consumers.Follow(ctx, w.p.log, consumers.Options{
		Partition: w.partition, After: w.outcomes.last(), Upto: end, Logger: w.logger,
	}, consumers.HandlerFunc(func(ctx context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
		if x.Poison == "" {
			folded += uint64(x.Batch.Len())
		}
		return w.Handle(ctx, x, stored)
	}))
	return folded, err
}
