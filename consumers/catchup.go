package consumers

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// CatchUp folds what the log held when it was opened and the state lacks, as Run does first, and returns how many events that
// were. It is for a tool on a stopped server's data: after a crash the state there is older than the log. It is not called
// beside Run. The error is [ErrNeedsArchive] if the log does not hold what the state lacks.
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

// catchUp folds up to the end that the log had. Checkpoints are made when much has changed, and by Close.
func (w *worker) catchUp(ctx context.Context) (folded uint64, err error) {
	at := w.outcomes.last()
	if at >= w.held {
		return 0, nil
	}
	r, err := w.p.log.Read(ctx, w.partition, at)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for at < w.held {
		e, err := r.Next(ctx)
		if err != nil {
			return folded, err
		}
		if err := w.apply(&e); err != nil {
			return folded, err
		}
		list, err := w.outcomes.wait(ctx, e.Sequence)
		if err != nil {
			return folded, err
		}
		at, folded = e.Sequence, folded+uint64(len(list))
	}
	return folded, nil
}
