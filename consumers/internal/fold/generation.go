package fold

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// Limits on the changes that are not in a checkpoint yet. At the first a checkpoint is due whatever
// the time, at the second the fold waits for the one under way.
const (
	ManyChanges = 50_000
	MaxChanges  = 125_000
)

// Generation is one build of a partition's state: the fold and the store below it. A rebuild makes
// a new generation beside the live one and switches; the old one is removed.
type Generation struct {
	// Store and Part are the generation's own. Whoever checkpoints past the methods below must
	// not use those.
	Store *store.Store
	Part  *projections.Partition

	dir    string
	disk   vfs.FS
	commit func(*projections.Checkpoint) error // of the store

	// checkpointing is held from capture to commit: there is one checkpoint under way at a
	// time.
	checkpointing sync.Mutex
	saved         uint64         // sequence of the last committed checkpoint
	failed        error          // of a checkpoint that was not committed
	async         sync.WaitGroup // a commit that the fold does not wait for
}

// Options are what all generations of a partition share.
type Options struct {
	Partition int
	// CacheBytes bounds the cached state. The store's filter may have half as much beside it.
	CacheBytes int
	// Blocks is the cache of all stores together; nil = one of its own.
	Blocks *pebble.Cache
	// FS is where all of a partition lies; nil = the disk.
	FS vfs.FS
	// WaitForRoom is handed on to the store: see [store.Options].
	WaitForRoom bool
	// OnlyWithRoom is handed on to the store: see [store.Options].
	OnlyWithRoom bool
	// OnCorrupt is called once when an open generation is found corrupt; see [store.Options].
	OnCorrupt func()
	Logger    *slog.Logger
	// SplitLater leaves a split that is due to the caller of Split.
	SplitLater bool
	// ForSink has the fold keep what a sink takes from it: facts, and which cohorts changed.
	ForSink bool
}

func (o Options) fs() vfs.FS { return orDefault(o.FS) }

func orDefault(disk vfs.FS) vfs.FS {
	if disk == nil {
		return vfs.Default
	}
	return disk
}

// part are the options of the fold in a generation. online is asked who would be told of an effect;
// nil = nobody.
func (o Options) part(online func(app, user string) bool) projections.Options {
	return projections.Options{
		CacheBytes: o.CacheBytes, Online: online, TrackFacts: o.ForSink, TrackCohorts: o.ForSink,
	}
}

// Open opens the generation in a directory, or makes an empty one. It makes no effects: see
// [projections.Partition.MakeEffects].
func Open(dir string, o Options) (*Generation, error) {
	st, err := store.Open(dir, store.Options{
		Cache: o.Blocks, FS: o.FS, WaitForRoom: o.WaitForRoom, OnlyWithRoom: o.OnlyWithRoom,
		Logger: o.Logger, OnCorrupt: o.OnCorrupt,
		FilterBytes: filterBytes(o.CacheBytes),
	})
	if err != nil {
		return nil, err
	}
	part, err := projections.Open(o.Partition, st, o.part(nil))
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	g := &Generation{dir: dir, disk: o.fs(), commit: st.Commit, Store: st, Part: part}
	g.saved, _ = part.Position()
	if !part.SplitDue() || o.SplitLater {
		return g, nil
	}
	if err := g.Split(nil); err != nil { // which a crash cut off
		return nil, errors.Join(err, st.Close())
	}
	return g, nil
}

// Dir is where the generation lies.
func (g *Generation) Dir() string { return g.dir }

// Saved is the sequence of the last entry that a committed checkpoint has.
func (g *Generation) Saved() uint64 {
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	return g.saved
}

// SetCacheBytes changes the bound of the cached state, and how far the store's filter may still
// grow: see [Options].
func (g *Generation) SetCacheBytes(n int) {
	g.Part.SetCacheBytes(n)
	g.Store.SetFilterBytes(filterBytes(n))
}

func filterBytes(cacheBytes int) int { return max(1, cacheBytes/2) }

// Checkpoint writes everything folded so far to the store, for a caller that waits for it. After a
// failed checkpoint there is no further one: it would lack what the failed one had. The log still
// has all of it.
func (g *Generation) Checkpoint() error {
	defer g.Store.Hurry()()
	return g.CheckpointUnhurried()
}

// CheckpointUnhurried is a checkpoint that nobody waits for: it lets others run.
func (g *Generation) CheckpointUnhurried() error {
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	return g.checkpointLocked()
}

// fail has every further checkpoint fail: the store and the state in memory no longer agree.
func (g *Generation) fail(err error) error {
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if g.failed == nil {
		g.failed = err
	}
	return err
}

func (g *Generation) checkpointLocked() error {
	c, err := g.captureLocked()
	if err != nil || c == nil {
		return err
	}
	return g.commitLocked(c)
}

// captureLocked takes what changed since the last checkpoint; nil if nothing did.
func (g *Generation) captureLocked() (*projections.Checkpoint, error) {
	if g.failed != nil {
		return nil, g.failed
	}
	if seq, _ := g.Part.Position(); seq == g.saved {
		// What was committed before may have failed to become durable since.
		return nil, errors.Join(g.Part.Failed(), g.Store.Failed())
	}
	c, err := g.Part.Capture()
	g.failed = err
	return c, err
}

func (g *Generation) commitLocked(c *projections.Checkpoint) error {
	if g.failed = g.commit(c); g.failed != nil {
		return g.failed
	}
	g.saved = c.Sequence
	g.Part.Committed(c)
	return nil
}

// checkpointAsync waits for the checkpoint that is under way, if there is one, and has the next one
// written while the fold goes on. If writing it fails, the checkpoint after it returns the error.
func (g *Generation) checkpointAsync() error {
	done := g.Store.Hurry()
	g.checkpointing.Lock()
	done()
	c, err := g.captureLocked()
	if err != nil || c == nil {
		g.checkpointing.Unlock()
		return err
	}
	g.async.Go(func() {
		defer g.checkpointing.Unlock()
		_ = g.commitLocked(c)
	})
	return nil
}

// Relieve asks for a checkpoint on wanted when much has changed since the last one. When too much
// has, the fold waits until that is captured.
func (g *Generation) Relieve(wanted chan<- struct{}) error {
	switch n := g.Part.Changes(); {
	case n > MaxChanges:
		return g.checkpointAsync()
	case n > ManyChanges:
		select {
		case wanted <- struct{}{}:
		default: // one is wanted already
		}
	}
	return nil
}

// Durable makes everything folded so far durable and returns the sequence of its last entry.
func (g *Generation) Durable() (sequence uint64, err error) {
	if err := g.Checkpoint(); err != nil {
		return 0, err
	}
	sequence = g.Saved()
	return sequence, g.Store.Flush()
}

// Snapshot checkpoints and returns the state at the position of that checkpoint.
func (g *Generation) Snapshot() (snap *store.Snapshot, sequence uint64, err error) {
	defer g.Store.Hurry()()
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if err := g.checkpointLocked(); err != nil {
		return nil, 0, err
	}
	return g.Store.Snapshot(), g.saved, nil
}

// SnapshotBehind takes the state as it is now for a caller that must not wait for the disk: it is
// written while the fold goes on, and got is called with it then, which must not use the
// generation; with nil if it cannot be written. Nothing is taken while the disk is full, or becomes
// so before the checkpoint under way is written: the fold would stand still until there is
// room again.
func (g *Generation) SnapshotBehind(got func(snap *store.Snapshot)) {
	done := g.Store.Hurry()
	for !g.checkpointing.TryLock() {
		if g.Store.DiskFull() {
			done()
			got(nil)
			return
		}
		time.Sleep(time.Millisecond) // a checkpoint takes many, and this is rare
	}
	done()
	c, err := g.captureLocked()
	if err != nil {
		g.checkpointing.Unlock()
		got(nil)
		return
	}
	g.async.Go(func() {
		defer g.checkpointing.Unlock()
		if c != nil && g.commitLocked(c) != nil {
			got(nil)
			return
		}
		got(g.Store.Snapshot())
	})
}

// Adopt replaces the tables of one projection by those of another generation, which stands at the
// same position. o are the options that g was opened with. Nothing may use Part meanwhile: it is
// another one afterwards, and live for whom online says.
func (g *Generation) Adopt(from *Generation, projection string, o Options, online func(app, user string) bool) error {
	if err := g.Checkpoint(); err != nil {
		return err
	}
	tables, _ := projections.ProjectionTables(projection)
	if err := g.Store.Adopt(from.Store, tables); err != nil {
		return g.fail(err)
	}
	part, err := projections.Open(o.Partition, g.Store, o.part(online))
	if err != nil {
		return g.fail(err)
	}
	g.Part = part
	return nil
}

// Close writes a last checkpoint and closes the generation.
func (g *Generation) Close() error {
	err := g.Checkpoint()
	return errors.Join(err, g.Store.Close())
}

// Remove closes a generation that is not the current one and removes it.
func (g *Generation) Remove() error {
	g.async.Wait()
	err := g.Store.Discard()
	if rm := g.disk.RemoveAll(g.dir); rm != nil {
		err = errors.Join(err, fmt.Errorf("remove generation: %w", rm))
	}
	return err
}
