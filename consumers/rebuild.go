package consumers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// ErrRebuilding is returned when a rebuild is asked for while one is under way.
var ErrRebuilding = errors.New("consumers: a rebuild is under way already")

// AllProjections names every projection at once.
const AllProjections = "all"

// RebuildOptions say what to rebuild.
type RebuildOptions struct {
	// Switch makes the rebuilt state the live one; without it the two are compared only.
	Switch bool
	// Projection limits a switch to one projection; empty or AllProjections for all.
	Projection string
	// Archive gives the entries it has, and the log those that follow; nil: the log gives all.
	Archive Archive
	// Progress is called now and then, from one goroutine at a time; nil for none.
	Progress func(Progress)
}

// Validate finds out whether the projection is a known one.
func (o RebuildOptions) Validate() error {
	if o.Projection == "" || o.Projection == AllProjections {
		return nil
	}
	if _, ok := projections.ProjectionTables(o.Projection); !ok {
		return fmt.Errorf("unknown projection %q; there are: all, %s", o.Projection, projections.ProjectionNames())
	}
	return nil
}

// Progress of a rebuild, all partitions together.
type Progress struct {
	// Phase is "replay", "compare" or "catch up".
	Phase string `json:"phase"`
	// Entries of Total are folded; Events is what was in them.
	Entries uint64 `json:"entries"`
	Total   uint64 `json:"total"`
	Events  uint64 `json:"events"`
}

// RebuildResult is the outcome of a rebuild. Its JSON form is what receiptctl verify prints.
type RebuildResult struct {
	// Equal reports whether the replayed state equals the live one, in every partition.
	Equal      bool    `json:"equal"`
	Events     uint64  `json:"events"`
	Seconds    float64 `json:"seconds"`
	EventsPerS float64 `json:"events_per_s"`
	Switched   bool    `json:"switched,omitempty"`
	// CaughtUp is how many events of the log a stopped server's state lacked, and were folded into it before.
	CaughtUp   uint64            `json:"events_caught_up,omitempty"`
	Partitions []PartitionResult `json:"partitions"`
}

// PartitionResult compares the two states of one partition.
type PartitionResult struct {
	Partition int `json:"partition"`
	// Position is the log entry at which both states were taken.
	Position uint64 `json:"position"`
	// Live and Replayed are the digests. Live is empty if the live state stands at an earlier position, because the log
	// does not hold what follows it: there is nothing to compare then.
	Live     string `json:"live"`
	Replayed string `json:"replayed"`
	// Keys is the number of keys in the replayed state.
	Keys int `json:"keys"`
	// Difference is where the states differ first; nil if they are equal.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is where a live state and a replayed one differ first. Live and Replayed are the values in hex.
type Difference struct {
	Key      string `json:"key"`
	What     string `json:"what"`
	Live     string `json:"live,omitempty"`
	Replayed string `json:"replayed,omitempty"`
}

// Rebuild folds the log from its start into fresh state beside the live one, compares the two at one position
// and, if asked, switches to the fresh one. Live traffic goes on; no effects are made. A rebuilt state that
// differs is switched to all the same: the log is the truth.
func (p *Projector) Rebuild(ctx context.Context, o RebuildOptions) (RebuildResult, error) {
	if err := o.Validate(); err != nil {
		return RebuildResult{}, err
	}
	if p.closing.Err() != nil {
		return RebuildResult{}, ErrStopped
	}
	if !p.rebuilding.TryLock() {
		return RebuildResult{}, ErrRebuilding
	}
	defer p.rebuilding.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()

	result, err := p.rebuild(ctx, o)
	if err != nil && p.closing.Err() != nil {
		err = ErrStopped
	}
	return result, err
}

func (p *Projector) rebuild(ctx context.Context, o RebuildOptions) (RebuildResult, error) {
	started := time.Now()
	t := newTally(len(p.workers), o.Progress)
	result := RebuildResult{Equal: true, Switched: o.Switch, Partitions: make([]PartitionResult, len(p.workers))}
	replicas := make([]*replica, len(p.workers))
	defer func() {
		for _, r := range replicas {
			r.discard()
		}
	}()
	err := p.inParallel(ctx, func(ctx context.Context, k int) (err error) {
		if replicas[k], err = p.workers[k].newReplica(t, o.Archive); err != nil {
			return err
		}
		return replicas[k].compare(ctx, &result.Partitions[k])
	})
	// Only then the first partition switches: what fails or is given up before changes nothing.
	if err == nil && o.Switch {
		err = p.inParallel(ctx, func(ctx context.Context, k int) error {
			return replicas[k].takeOver(ctx, o.Projection)
		})
	}
	if err != nil {
		return RebuildResult{}, err
	}
	for _, r := range result.Partitions {
		result.Equal = result.Equal && r.Live == r.Replayed
	}
	result.Events = t.sum().Events
	result.Seconds = time.Since(started).Seconds()
	result.EventsPerS = float64(result.Events) / result.Seconds
	return result, nil
}

// inParallel does one step of a rebuild in every partition.
func (p *Projector) inParallel(ctx context.Context, step func(ctx context.Context, k int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for k := range p.workers {
		group.Go(func() error {
			if err := step(ctx, k); err != nil {
				return fmt.Errorf("rebuild partition %d: %w", k, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// tally adds up the partitions' progress.
type tally struct {
	mu     sync.Mutex
	report func(Progress)
	parts  []Progress
}

func newTally(partitions int, report func(Progress)) *tally {
	t := &tally{report: report, parts: make([]Progress, partitions)}
	for k := range t.parts {
		t.parts[k].Phase = "replay"
	}
	return t
}

func (t *tally) set(partition int, x Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts[partition] = x
	if t.report != nil {
		t.report(t.sumLocked())
	}
}

func (t *tally) sum() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sumLocked()
}

// sumLocked names the phase of the partition that is furthest behind.
func (t *tally) sumLocked() Progress {
	order := map[string]int{"replay": 0, "compare": 1, "catch up": 2}
	s := t.parts[0]
	s.Entries, s.Total, s.Events = 0, 0, 0
	for _, x := range t.parts {
		s.Entries, s.Total, s.Events = s.Entries+x.Entries, s.Total+x.Total, s.Events+x.Events
		if order[x.Phase] < order[s.Phase] {
			s.Phase = x.Phase
		}
	}
	return s
}

// replica is a state being rebuilt.
type replica struct {
	w        *worker
	gen      *generation
	unused   *generation // gen, until it stands in for another one
	archive  Archive     // nil for none
	t        *tally
	progress Progress
	silent   bool
}

func (w *worker) newReplica(t *tally, archive Archive) (*replica, error) {
	dir, err := nextGeneration(w.root)
	if err != nil {
		return nil, err
	}
	gen, err := openGeneration(dir, w.p.genOptions(w.partition))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &replica{w: w, gen: gen, unused: gen, archive: archive, t: t}, nil
}

// discard removes the generation that is left over.
func (r *replica) discard() {
	if r == nil {
		return
	}
	if err := r.unused.remove(); err != nil {
		// The next start removes it.
		r.w.logger.Warn("a generation that is not used any more stays", "error", err)
	}
}

// compare replays up to a position of the live state and compares the two there.
func (r *replica) compare(ctx context.Context, res *PartitionResult) error {
	snap, position, err := r.w.snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	res.Partition = r.w.partition
	comparable := true
	if r.archive != nil {
		if position, comparable, err = r.meet(ctx, position); err != nil {
			return err
		}
	}
	res.Position = position
	r.progress = Progress{Phase: "replay", Total: position}
	if err := r.replay(ctx, position); err != nil {
		return err
	}
	r.progress.Phase = "compare"
	r.report()
	mine, _, err := r.gen.snapshot()
	if err != nil {
		return err
	}
	defer mine.Close()
	if res.Replayed, res.Keys, err = mine.Digest(ctx); err != nil || !comparable {
		return err
	}
	if res.Live, _, err = snap.Digest(ctx); err != nil {
		return err
	}
	if res.Live == res.Replayed {
		return nil
	}
	diff, err := store.Compare(ctx, snap, mine)
	if diff != nil {
		res.Difference = (*Difference)(diff)
	}
	return err
}

func (w *worker) snapshot() (snap *store.Snapshot, position uint64, err error) {
	err = w.use(func(g *generation) (err error) {
		snap, position, err = g.snapshot()
		return err
	})
	return snap, position, err
}

// replay folds the log from where the replica stands up to a position.
func (r *replica) replay(ctx context.Context, upto uint64) error {
	if r.archive != nil {
		if err := r.replayArchive(ctx, upto); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	at, _ := r.gen.part.Position()
	if at >= upto {
		return nil
	}
	reader, err := r.w.p.log.Read(ctx, r.w.partition, at)
	if err != nil {
		return fmt.Errorf("replay: %w", needsArchive(err))
	}
	defer reader.Close()
	err = r.whileCheckpointing(ctx, func(ctx context.Context, kick chan<- struct{}) error {
		return r.fold(ctx, reader, upto, kick)
	})
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// fold folds what the reader gives, up to a position.
func (r *replica) fold(ctx context.Context, reader *eventlog.Reader, upto uint64, kick chan<- struct{}) error {
	for {
		e, err := reader.Next(ctx)
		if err != nil {
			return needsArchive(err)
		}
		list, err := r.gen.apply(&e, r.w.p.log.Partitions())
		if err != nil {
			return err
		}
		if err := r.folded(e.Sequence, len(list), upto, kick); err != nil || e.Sequence == upto {
			return err
		}
	}
}

// report tells how far the replica is, unless the live fold stands still for it: who listens may be slow.
func (r *replica) report() {
	if !r.silent {
		r.t.set(r.w.partition, r.progress)
	}
}

// standstillMax bounds how long the fold and the questions of a partition wait for a switch.
const standstillMax = 5 * time.Second

// takeOver catches up with the live fold and makes the replica, or one projection of it, the live state.
func (r *replica) takeOver(ctx context.Context, projection string) error {
	r.progress.Phase = "catch up"
	// The fold goes on meanwhile; each round leaves less to do, and the last one stops it for a moment.
	for range 4 {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
	if err := r.gen.store.Flush(); err != nil {
		return err
	}
	err := r.standIn(ctx, projection)
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
	return r.gen.checkpoint()
}

// standIn does the last round and the switch while the live fold stands still.
func (r *replica) standIn(ctx context.Context, projection string) error {
	w := r.w
	w.using.Lock()
	defer w.using.Unlock()
	r.silent = true
	r.archive = nil // the log has what is left; a question to another server has no place here
	defer func() { r.silent = false }()
	ctx, cancel := context.WithTimeout(ctx, standstillMax)
	defer cancel()
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if projection != "" && projection != AllProjections {
		return w.adopt(r.gen, projection)
	}
	if err := r.gen.store.Flush(); err != nil {
		return err
	}
	if err := setCurrent(w.root, r.gen.dir); err != nil {
		return err
	}
	r.unused, w.gen = w.gen, r.gen
	w.gen.part.Live(w.online())
	return nil
}

// adopt replaces the tables of one projection by the replica's. Both states stand at the same position.
func (w *worker) adopt(from *generation, projection string) error {
	g := w.gen
	if err := g.checkpoint(); err != nil {
		return err
	}
	tables, _ := projections.ProjectionTables(projection)
	if err := g.store.Adopt(from.store, tables); err != nil {
		return g.fail(err)
	}
	part, err := projections.Open(w.partition, g.store, w.p.genOptions(w.partition).partOptions(w.online()))
	if err != nil {
		return g.fail(err)
	}
	g.part = part
	return nil
}
