package projector

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// Archive gives back the entries that a sink took. [clickhouse.Store] is one.
type Archive interface {
	// Archived returns the first and the last entry of a partition; zeros if there are none.
	Archived(ctx context.Context, partition int) (first, last clickhouse.Position, err error)
	// Replay calls f with every entry of a span, in order; see [clickhouse.Store.Replay].
	Replay(ctx context.Context, span clickhouse.Span, f func(*projections.Decoded) error) error
}

// ErrNeedsArchive is returned when a state can only be folded from entries that have left the log.
var ErrNeedsArchive = errors.New("projector: the entries that the state needs have left the log; if ClickHouse has them, " +
	"receiptctl replay --from archive, on a stopped server with --data and --clickhouse, folds the state from there, and so does --from snapshot from a snapshot")

// errOtherArchive is returned for an archive that was filled from another log than this one.
var errOtherArchive = errors.New("ClickHouse holds entries of another log")

// needsArchive says what to do about entries that have left the log.
func needsArchive(err error) error {
	if errors.Is(err, eventlog.ErrTrimmed) {
		return fmt.Errorf("%w: %w", ErrNeedsArchive, err)
	}
	return err
}

// comparePosition says up to where a replica is folded before it is compared with a live state at a
// position. If the log does not hold what follows that position, the live state will never get
// further: the replica goes up to the end of the archive, and there is nothing to compare.
func (r *replica) comparePosition(ctx context.Context, position uint64) (upto uint64, comparable bool, err error) {
	first, _, err := r.w.p.log.Bounds(ctx, r.w.partition)
	if err != nil {
		return 0, false, fmt.Errorf("start of the log: %w", err)
	}
	if first <= position+1 {
		return position, true, nil
	}
	_, last, err := r.archived(ctx, r.w.partition)
	if err != nil {
		return 0, false, err
	}
	if last.Sequence+1 < first {
		return 0, false, fmt.Errorf("the archive ends with entry %d, the log begins with %d", last.Sequence, first)
	}
	return last.Sequence, false, nil
}

// replayArchive folds what the archive has, up to a position. The log gives what follows, so the
// archive has to fit it: its last entry is the log's, if the log still has that.
func (r *replica) replayArchive(ctx context.Context, upto uint64) error {
	at, _ := r.gen.Part.Position()
	first, last, err := r.archived(ctx, r.w.partition)
	if err != nil {
		return err
	}
	upto = min(upto, last.Sequence)
	if at >= upto {
		return nil
	}
	if first.Sequence > at+1 {
		return fmt.Errorf("the archive begins with entry %d, those after %d are needed", first.Sequence, at)
	}
	switch e, err := r.w.p.log.EntryAt(ctx, r.w.partition, last.Sequence); {
	case errors.Is(err, eventlog.ErrNoEntry):
	case err != nil:
		return fmt.Errorf("compare archive and log: %w", err)
	case eventlog.Fingerprint(e) != last.Fingerprint:
		return fmt.Errorf("%w: entry %d is another one", errOtherArchive, last.Sequence)
	}
	return r.whileCheckpointing(ctx, func(ctx context.Context) error {
		for _, s := range consumers.Spans(r.w.p.log, r.w.partition, at, upto) {
			if err := r.archive.Replay(ctx, clickhouse.Span(s), r.apply); err != nil {
				return err
			}
		}
		return nil
	})
}

// archived are the first and the last entry of a partition that the archive has, those included
// that it has of the partition from which this one forked.
func (r *replica) archived(ctx context.Context, partition int) (first, last clickhouse.Position, err error) {
	if first, last, err = r.archive.Archived(ctx, partition); err != nil {
		return first, last, err
	}
	parent, upto := r.w.p.log.Fork(partition)
	if parent < 0 || last.Sequence > 0 && first.Sequence > upto+1 {
		return first, last, nil
	}
	first, of, err := r.archived(ctx, parent)
	if err != nil || last.Sequence > 0 {
		return first, last, err
	}
	if of.Sequence <= upto {
		return first, of, nil
	}
	last.Sequence = upto
	e, err := r.w.p.log.EntryAt(ctx, partition, upto)
	if err == nil {
		last.Fingerprint = eventlog.Fingerprint(e)
	} else if errors.Is(err, eventlog.ErrNoEntry) { // with which it would be compared
		err = nil
	}
	return first, last, err
}

// whileCheckpointing runs a fold, and the checkpoints that it wants.
func (r *replica) whileCheckpointing(ctx context.Context, fold func(ctx context.Context) error) error {
	r.checkpointWanted = make(chan struct{}, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for range r.checkpointWanted {
			if err := r.gen.Checkpoint(); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(r.checkpointWanted)
		return fold(ctx)
	})
	return group.Wait()
}
