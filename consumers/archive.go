package consumers

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

// ErrNeedsArchive is returned when a state can only be folded from entries that have left the log.
var ErrNeedsArchive = errors.New("consumers: the entries that the state needs have left the log; if ClickHouse has them, " +
	"receiptctl replay --from archive, on a stopped server with --data and --clickhouse, folds the state from there")

// needsArchive says what to do about entries that have left the log.
func needsArchive(err error) error {
	if errors.Is(err, eventlog.ErrTrimmed) {
		return fmt.Errorf("%w: %w", ErrNeedsArchive, err)
	}
	return err
}

// meet says up to where a replica is folded before it is compared with a live state at a position. If the log does not
// hold what follows that position, the live state will never get further: the replica goes up to the end of the
// archive, and there is nothing to compare.
func (r *replica) meet(ctx context.Context, position uint64) (upto uint64, comparable bool, err error) {
	first, _, err := r.w.p.log.Bounds(ctx, r.w.partition)
	if err != nil {
		return 0, false, fmt.Errorf("begin of the log: %w", err)
	}
	if first <= position+1 {
		return position, true, nil
	}
	_, last, err := r.archive.Archived(ctx, r.w.partition)
	if err != nil {
		return 0, false, err
	}
	if last.Sequence+1 < first {
		return 0, false, fmt.Errorf("the archive ends with entry %d, the log begins with %d", last.Sequence, first)
	}
	return last.Sequence, false, nil
}

// replayArchive folds what the archive has, up to a position. The log gives what follows, so the archive has to fit to it: its last
// entry is the log's, if the log still has that.
func (r *replica) replayArchive(ctx context.Context, upto uint64) error {
	at, _ := r.gen.part.Position()
	first, last, err := r.archive.Archived(ctx, r.w.partition)
	if err != nil {
		return err
	}
	upto = min(upto, last.Sequence)
	if at >= upto {
		return nil
	}
	if first.Sequence > at+1 {
		return fmt.Errorf("the archive begins with entry %d, needed are those behind %d", first.Sequence, at)
	}
	switch e, err := r.w.p.log.EntryAt(ctx, r.w.partition, last.Sequence); {
	case errors.Is(err, eventlog.ErrNoEntry):
	case err != nil:
		return fmt.Errorf("compare archive and log: %w", err)
	case eventlog.Fingerprint(e) != last.Fingerprint:
		return fmt.Errorf("%w: entry %d is another one", ErrSinkDisagrees, last.Sequence)
	}
	return r.whileCheckpointing(ctx, func(ctx context.Context, kick chan<- struct{}) error {
		return r.archive.Replay(ctx, r.w.partition, r.w.p.log.Partitions(), at, upto,
			func(x *projections.Decoded) error {
				if _, err := r.gen.part.Apply(*x); err != nil {
					return err
				}
				return r.folded(x.Sequence, x.Batch.Len(), upto, kick)
			})
	})
}

// whileCheckpointing runs a fold that kicks for checkpoints, and makes them.
func (r *replica) whileCheckpointing(ctx context.Context, fold func(ctx context.Context, kick chan<- struct{}) error) error {
	kick := make(chan struct{}, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for range kick {
			if err := r.gen.checkpoint(); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(kick)
		return fold(ctx, kick)
	})
	return group.Wait()
}

// folded counts an entry that was folded, tells how far the replica is, and has checkpoints made.
func (r *replica) folded(sequence uint64, events int, upto uint64, kick chan<- struct{}) error {
	r.progress.Entries = sequence
	r.progress.Events += uint64(events)
	if sequence%64 == 0 || sequence == upto {
		r.report()
	}
	return r.gen.relieve(kick)
}
