package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// ErrRebuilding is returned when a rebuild is asked for while one is under way.
var ErrRebuilding = errors.New("projector: a rebuild is under way already")

// allProjections names every projection at once, as an empty name does.
const allProjections = "all"

// RebuildOptions say what to rebuild.
type RebuildOptions struct {
	// Switch makes the rebuilt state the live one; without it the two are compared only.
	Switch bool
	// Projection limits a switch to one projection; empty or "all" for all.
	Projection string
	// Archive gives the entries it has, and the log those that follow; nil: the log gives all.
	Archive Archive
	// Snapshots give a state to begin from, and the log or the archive the entries that follow;
	// nil: everything is folded.
	Snapshots Snapshots
	// Heads returns heads that the tree of a partition is known to have had, in the order of their
	// sizes, for the replayed tree to be compared with; nil for none.
	Heads func(partition int) ([]merkle.Head, error)
	// Progress is called now and then, from one goroutine at a time; nil for none.
	Progress func(Progress)
}

// Validate returns an error, for the operator, if there is no such projection.
func (o RebuildOptions) Validate() error {
	if o.Projection == "" || o.Projection == allProjections {
		return nil
	}
	if _, ok := projections.ProjectionTables(o.Projection); !ok {
		return fmt.Errorf("unknown projection %q; there are: all, %s", o.Projection, projections.ProjectionNames())
	}
	return nil
}

// Rebuild folds the log of the partitions that are here from its start into fresh state beside the
// live one, compares the two at one position and, if asked, switches to the fresh one. Live traffic
// goes on; no effects are made. A rebuilt state that differs is switched to all the same: the log
// is the truth. Given up before the phase "catch up" it changes nothing; in that phase each
// partition switches as it is ready, so that some may have and others not. The error is
// [ErrRebuilding] while another rebuild is under way or a corrupt state is folded again,
// [ErrStopped] if the projector is closed before the end, and [ErrNeedsArchive] or errNoSnapshot
// if the log no longer has what it takes.
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
	p.retention.Lock()
	p.giveUp.Store(&cancel)
	p.retention.Unlock()
	defer p.giveUp.Store(nil)
	p.limitCaches(p.replicaCacheBytes())
	defer func() { p.limitCaches(p.cacheBytes()) }()

	result, err := p.rebuild(ctx, o)
	if err != nil && p.closing.Err() != nil {
		err = ErrStopped
	}
	return result, err
}

// replicaCacheBytes bounds the cached state of a replica, and of the live state beside it: the two
// share the memory that the live one has otherwise.
func (p *Projector) replicaCacheBytes() int { return max(1, p.cacheBytes()/2) }

func (p *Projector) limitCaches(bytes int) {
	for _, w := range p.workers {
		_ = w.use(func(g *fold.Generation) error { // only fails when it is not here, or closed
			g.SetCacheBytes(bytes)
			return nil
		})
	}
}

func (p *Projector) rebuild(ctx context.Context, o RebuildOptions) (RebuildResult, error) {
	started := time.Now()
	here := p.here()
	overall := newOverallProgress(here, o.Progress)
	result := RebuildResult{Equal: true, Switched: o.Switch, Partitions: make([]PartitionResult, len(here))}
	replicas := make([]*replica, len(here))
	defer func() {
		for _, r := range replicas {
			r.discard()
		}
	}()
	err := inParallel(ctx, here, func(ctx context.Context, i int) (err error) {
		if replicas[i], err = here[i].newReplica(ctx, overall, &o); err != nil {
			return err
		}
		return replicas[i].compare(ctx, o.Heads, &result.Partitions[i])
	})
	// Only then the first partition switches: what fails or is given up before changes nothing.
	if err == nil && o.Switch {
		err = inParallel(ctx, here, func(ctx context.Context, i int) error {
			return replicas[i].takeOver(ctx, o.Projection)
		})
	}
	if err != nil {
		return RebuildResult{}, err
	}
	for _, w := range p.workers {
		if !slices.Contains(here, w) {
			result.Elsewhere = append(result.Elsewhere, w.partition)
		}
	}
	for _, r := range result.Partitions {
		result.Equal = result.Equal && r.Live == r.Replayed && r.Rewritten == nil
	}
	result.Events = overall.sum().Events
	result.Seconds = time.Since(started).Seconds()
	result.EventsPerS = float64(result.Events) / result.Seconds
	return result, nil
}

// inParallel does one step of a rebuild in every partition that is rebuilt.
func inParallel(ctx context.Context, list []*worker, step func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, w := range list {
		group.Go(func() error {
			if err := step(ctx, i); err != nil {
				return fmt.Errorf("rebuild partition %d: %w", w.partition, err)
			}
			return nil
		})
	}
	return group.Wait()
}
