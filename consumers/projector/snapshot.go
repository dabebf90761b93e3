package projector

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections/store"
)

// Snapshots are states of partitions that are kept outside of this process.
type Snapshots interface {
	// Fetch writes the files of the newest snapshot of a partition that is good, and of use, to a
	// directory, which is empty, and syncs them. ok is false if there is none; the directory may
	// have anything in it then. use returns why a snapshot with these facts is of no use, nil if it
	// is. The error is for what kept it from looking.
	Fetch(ctx context.Context, partition int, dir string, use func(store.StateInfo) error) (f store.StateInfo, ok bool, err error)
}

var (
	// errOtherLog is why a snapshot of another log is of no use.
	errOtherLog = errors.New("it was folded from another log than this one")
	// errNoSnapshot is returned by a rebuild from snapshots for a partition of which there is none
	// that is of use.
	errNoSnapshot = errors.New("projector: there is no snapshot that is of use")
	// errOlder, errNewer and errGap are other reasons.
	errOlder = errors.New("the state here is newer")
	errNewer = errors.New("the state here has not come to its entry")
	errGap   = errors.New("the log no longer has the entries after it")
)

// Export writes the state of a partition to a directory, which must not be there: files that a
// start can begin from. The fold goes on, but for the moment of a checkpoint. The error is
// [ErrFoldingAgain] for a state that is not complete.
func (p *Projector) Export(ctx context.Context, partition int, dir string) (f store.StateInfo, err error) {
	w := p.workers[partition]
	var snap *store.Snapshot
	err = w.use(func(g *fold.Generation) error {
		if err := w.unanswered(); err != nil {
			return err
		}
		snap, err = g.Export(dir)
		return w.answered(g, err)
	})
	if err == nil {
		f, err = snap.Info(ctx)
		err = errors.Join(err, snap.Close())
	}
	if err != nil {
		return f, fmt.Errorf("export the state of partition %d: %w", partition, err)
	}
	return f, nil
}

// fits returns why a snapshot cannot be gone on from with this log, nil if it can. Its entry has to
// be there still: an entry that has left cannot be compared.
func (w *worker) fits(ctx context.Context, f store.StateInfo) error {
	first, last, err := w.p.log.Reach(ctx, w.partition, f.Sequence)
	switch {
	case err != nil:
		return err
	case f.Sequence < first:
		return errGap
	case f.Sequence > last:
		return fmt.Errorf("%w: it ends with entry %d", errOtherLog, last)
	}
	e, err := w.p.log.EntryAt(ctx, w.partition, f.Sequence)
	switch {
	case errors.Is(err, eventlog.ErrNoEntry):
		return errGap
	case err != nil:
		return err
	case eventlog.Fingerprint(e) != f.Fingerprint:
		return fmt.Errorf("%w: entry %d is another one", errOtherLog, f.Sequence)
	}
	return nil
}

// fetch gets the newest snapshot that is of use into a directory beside the generations; the name
// is empty if there is none.
func (w *worker) fetch(ctx context.Context, from Snapshots, use func(store.StateInfo) error) (dir string, at uint64, err error) {
	if dir, err = fold.NewIncoming(w.root); err != nil {
		return "", 0, err
	}
	f, ok, err := from.Fetch(ctx, w.partition, dir, func(f store.StateInfo) error {
		if err := use(f); err != nil {
			return err
		}
		return w.fits(ctx, f)
	})
	if err != nil || !ok {
		return "", 0, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, f.Sequence, nil
}

// fromSnapshot gets a snapshot for a state that stands at a position to begin from.
func (w *worker) fromSnapshot(ctx context.Context, position uint64) (dir string, at uint64, err error) {
	if w.p.o.Snapshots == nil {
		return "", 0, nil
	}
	return w.fetch(ctx, w.p.o.Snapshots, func(f store.StateInfo) error {
		if f.Sequence <= position {
			return errOlder
		}
		return nil
	})
}

// begin replaces a state that is empty, or that the log cannot bring up to date any more, by the
// newest snapshot, if there are any. It reports whether it has. If it fails, the state is closed.
func (w *worker) begin(ctx context.Context, g *fold.Generation) (now *fold.Generation, begun bool, err error) {
	if w.p.o.Snapshots == nil {
		return g, false, nil
	}
	position, _ := g.Part.Position()
	first, _, err := w.p.log.Bounds(ctx, w.partition)
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("start of the log: %w", err), g.Close())
	}
	follows := first <= position+1 // the log has all that the state lacks
	if position > 0 && follows {
		return g, false, nil
	}
	dir, at, err := w.fromSnapshot(ctx, position)
	switch {
	case err != nil && follows && ctx.Err() == nil:
		w.logger.Warn("the snapshots cannot be read; the state is folded from the log", "error", err)
		return g, false, nil
	case err != nil:
		return nil, false, errors.Join(err, g.Close())
	case dir == "":
		return g, false, nil
	}
	if g, err = fold.Install(w.root, dir, g, w.foldOptions()); err != nil {
		return nil, false, err
	}
	w.logger.Info("the state begins from a snapshot", "entry", at, "had", position)
	return g, true, nil
}

// newFrom makes a replica that begins from the newest snapshot at which the live state was, or from
// the newest of all if the log cannot bring the live state up to date any more.
func (r *replica) newFrom(ctx context.Context, from Snapshots) error {
	w, position := r.w, r.w.outcomes.last()
	first, _, err := w.p.log.Bounds(ctx, w.partition)
	if err != nil {
		return fmt.Errorf("start of the log: %w", err)
	}
	r.cutOff = first > position+1
	dir, at, err := w.fetch(ctx, from, func(f store.StateInfo) error {
		if f.Sequence > position && !r.cutOff {
			return errNewer
		}
		return nil
	})
	if err == nil && dir == "" {
		err = errNoSnapshot
	}
	if err != nil {
		return err
	}
	r.after = at
	r.gen, err = fold.OpenIncoming(w.root, dir, w.replicaOptions())
	return err
}
