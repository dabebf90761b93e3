package projector

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// replica is a partition's state while it is being rebuilt.
type replica struct {
	w      *worker
	logger *slog.Logger
	gen    *fold.Generation
	unused *fold.Generation // gen, until that becomes the live one; then the one it replaced
	// stay has gen go on waiting for room on a full disk when the rebuild ends.
	stay    func() bool
	archive Archive // nil for none
	// after is the entry of the snapshot that it began from; 0 = none. cutOff is set if the live
	// state cannot come to where it is, and is not compared.
	after  uint64
	cutOff bool
	equal  bool // to the live state, where the two were compared

	overall    *overallProgress
	progress   Progress // of this partition
	standstill bool     // the live fold waits for this replica

	upto             uint64 // the last entry of the replay under way
	checkpointWanted chan struct{}
}

func (w *worker) newReplica(ctx context.Context, overall *overallProgress, o *RebuildOptions) (r *replica, err error) {
	r = &replica{w: w, logger: w.logger, archive: o.Archive, overall: overall}
	if o.Snapshots != nil {
		err = r.newFrom(ctx, o.Snapshots)
	} else {
		r.gen, err = fold.OpenNext(w.root, w.replicaOptions())
	}
	if err != nil {
		return nil, err
	}
	r.unused, r.stay = r.gen, context.AfterFunc(ctx, r.gen.Store.StopWaiting)
	return r, nil
}

// replicaOptions are the options of a generation beside the live one.
func (w *worker) replicaOptions() fold.Options {
	o := w.foldOptions()
	o.CacheBytes = w.p.replicaCacheBytes()
	return o
}

// discard removes the generation that is left over. One that the rebuilt state took the place of
// and that is another one is put aside until that is proven, or kept: see [Options.Keep].
func (r *replica) discard() {
	if r == nil {
		return
	}
	r.stay()
	end, differs := r.unused.Remove, r.unused != r.gen && !r.equal
	switch {
	case differs && r.w.p.o.Keep:
		end = func() error { return r.unused.Keep(r.w.root) }
	case differs:
		end = func() error { return r.unused.Retire(r.w.root) }
	}
	if err := end(); err != nil {
		// The next start takes care of it.
		r.logger.Warn("a generation that is not used any more stays", "error", err)
	}
	if r.unused != r.gen {
		r.w.provenSoon()
	}
}

// compare replays up to a position of the live state and compares the two there, and the tree of
// the log with its known heads.
func (r *replica) compare(ctx context.Context, heads knownHeads, res *PartitionResult) error {
	snap, position, err := r.w.snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	res.Partition = r.w.partition
	comparable := true
	if r.archive != nil {
		if position, comparable, err = r.comparePosition(ctx, position); err != nil {
			return err
		}
	}
	if r.cutOff {
		position, comparable = r.after, false
	}
	res.Position, res.After = position, r.after
	r.progress = Progress{Phase: phaseReplay, Total: position}
	if err := r.replay(ctx, position); err != nil {
		return err
	}
	r.progress.Phase = phaseCompare
	r.report()
	mine, _, err := r.gen.Snapshot()
	if err != nil {
		return err
	}
	defer mine.Close()
	if err := r.checkHeads(mine, heads, res); err != nil {
		return err
	}
	if res.Replayed, res.Keys, err = mine.Digest(ctx); err != nil || !comparable {
		return err
	}
	if res.Live, _, err = snap.Digest(ctx); err != nil {
		return err
	}
	if r.equal = res.Live == res.Replayed; r.equal {
		return nil
	}
	diff, err := store.Compare(ctx, snap, mine)
	if diff != nil {
		res.Difference = (*Difference)(diff)
	}
	return err
}

func (w *worker) snapshot() (snap *store.Snapshot, position uint64, err error) {
	err = w.use(func(g *fold.Generation) (err error) {
		snap, position, err = g.Snapshot()
		return err
	})
	return snap, position, err
}

// replay folds from where the replica stands up to a position: what the archive has from there, if
// one was given, and the rest from the log.
func (r *replica) replay(ctx context.Context, upto uint64) error {
	r.upto = upto
	if r.archive != nil {
		if err := r.replayArchive(ctx, upto); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	at, _ := r.gen.Part.Position()
	if at >= upto {
		return nil
	}
	err := r.whileCheckpointing(ctx, func(ctx context.Context) error {
		return consumers.Follow(ctx, r.w.p.log, consumers.Options{
			Partition: r.w.partition, After: at, Upto: upto, Logger: r.logger,
		}, r)
	})
	if err != nil {
		return fmt.Errorf("replay: %w", needsArchive(err))
	}
	return nil
}

// Handle folds an entry of the log.
func (r *replica) Handle(_ context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
	return r.apply(x)
}

// apply folds an entry, counts it, tells how far the replica is, and has checkpoints made.
func (r *replica) apply(x *projections.Decoded) error {
	list, err := r.gen.Apply(*x)
	if err != nil {
		return err
	}
	r.progress.Entries = x.Sequence
	r.progress.Events += uint64(len(list))
	if x.Sequence%reportEvery == 0 || x.Sequence == r.upto {
		r.report()
	}
	return r.gen.Relieve(r.checkpointWanted)
}

// reportEvery is how many entries are folded between two reports of progress.
const reportEvery = 64

// report tells how far the replica is, unless the live fold stands still for it: the listener may
// be slow.
func (r *replica) report() {
	if !r.standstill {
		r.overall.set(r.w.partition, r.progress)
	}
}

// standstillMax bounds how long the fold and the questions of a partition wait for a switch.
const standstillMax = 5 * time.Second

// takeOver catches up with the live fold and makes the replica, or one projection of it, the live
// state.
func (r *replica) takeOver(ctx context.Context, projection string) error {
	r.progress.Phase = phaseCatchUp
	// The fold goes on meanwhile; each round leaves less to do, and the last one stops it for a
	// moment.
	for range 4 {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
	if err := r.gen.Store.Flush(); err != nil {
		return err
	}
	err := r.switchOver(ctx, projection)
	r.report()
	return err
}

// catchUp replays up to where the live fold is, and checkpoints.
func (r *replica) catchUp(ctx context.Context) error {
	upto := r.w.outcomes.last()
	r.progress.Total = upto
	if err := r.replay(ctx, upto); err != nil {
		return err
	}
	return r.gen.Checkpoint()
}

// switchOver does the last round and the switch while the live fold stands still.
func (r *replica) switchOver(ctx context.Context, projection string) error {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	r.standstill = true
	r.archive = nil // the log has what is left; a question to another server has no place here
	defer func() { r.standstill = false }()
	ctx, cancel := context.WithTimeout(ctx, standstillMax)
	defer cancel()
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if projection != "" && projection != allProjections {
		return w.adopt(r.gen, projection)
	}
	if err := r.gen.Store.Flush(); err != nil {
		return err
	}
	if err := r.gen.MakeCurrent(w.root); err != nil {
		return err
	}
	r.unused, w.gen = w.gen, r.gen
	w.gen.Part.MakeEffects(w.online())
	return nil
}

// adopt replaces the tables of one projection by those of another generation, which stands at the
// same position.
func (w *worker) adopt(from *fold.Generation, projection string) error {
	return w.gen.Adopt(from, projection, w.p.foldOptions(w.partition), w.online())
}
