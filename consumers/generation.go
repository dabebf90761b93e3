package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// generation is one build of a partition's state: the fold and the store below it. A rebuild makes a new
// generation beside the live one and switches; the old one is removed.
type generation struct {
	dir   string
	store *store.Store
	part  *projections.Partition

	// checkpointing is held from capture to commit: there is one checkpoint under way at a time.
	checkpointing sync.Mutex
	saved         uint64         // sequence of the last committed checkpoint
	failed        error          // of a checkpoint that was not committed
	behind        sync.WaitGroup // a commit that the fold does not wait for

	batch   events.Batch        // of decoded, for its memory
	decoded projections.Decoded // the entry that was folded last
}

// genOptions is what all generations of a partition share.
type genOptions struct {
	partition  int
	partitions int
	cacheBytes int
	blocks     *pebble.Cache
	fs         vfs.FS // nil = the disk
	logger     *slog.Logger
	// analytics is set for the fold of [Analytics], which takes facts and cells.
	analytics bool
}

func (o genOptions) partOptions(online func(app, user string) bool) projections.Options {
	return projections.Options{
		CacheBytes: o.cacheBytes, Online: online, TrackFacts: o.analytics, TrackCohorts: o.analytics,
	}
}

// openGeneration opens a state, or makes an empty one. It makes no effects: see [projections.Partition.Live].
func openGeneration(dir string, o genOptions) (*generation, error) {
	st, err := store.Open(dir, store.Options{Cache: o.blocks, FS: o.fs, Logger: o.logger})
	if err != nil {
		return nil, err
	}
	part, err := projections.Open(o.partition, st, o.partOptions(nil))
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	g := &generation{dir: dir, store: st, part: part}
	g.saved, _ = part.Position()
	return g, nil
}

// placeOf is an entry's place in the log, without its events.
func placeOf(e *eventlog.Entry) projections.Decoded {
	return projections.Decoded{Sequence: e.Sequence, At: e.Time.UnixMilli(), Fingerprint: eventlog.Fingerprint(*e)}
}

// apply folds one log entry. An entry that cannot be decoded is kept as poison; one that a newer version wrote
// is an error.
func (g *generation) apply(e *eventlog.Entry, partitions int) ([]events.Outcome, error) {
	g.decoded = placeOf(e)
	g.decoded.Batch = &g.batch
	switch err := events.DecodeEntry(e.Subject, e.Data, partitions, &g.batch); {
	case errors.Is(err, events.ErrVersion):
		// Not poison: a newer receiptd understands it, and would decide otherwise.
		return nil, fmt.Errorf("entry %d: %w", e.Sequence, err)
	case err != nil:
		g.decoded.Poison = err.Error()
	}
	return g.part.Apply(g.decoded)
}

// checkpoint brings everything folded so far into the store, for somebody who waits. After one that failed there is no
// other: it would lack what that one held. The log still has it.
func (g *generation) checkpoint() error {
	defer g.store.Hurry()()
	return g.checkpointBeside()
}

// checkpointBeside is a checkpoint that nobody waits for: it lets others run.
func (g *generation) checkpointBeside() error {
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	return g.checkpointLocked()
}

// fail has every further checkpoint fail: the store and the state in memory have parted.
func (g *generation) fail(err error) error {
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if g.failed == nil {
		g.failed = err
	}
	return err
}

func (g *generation) checkpointLocked() error {
	c, err := g.captureLocked()
	if err != nil || c == nil {
		return err
	}
	return g.commitLocked(c)
}

// captureLocked takes what changed since the last checkpoint; nil if nothing did.
func (g *generation) captureLocked() (*projections.Checkpoint, error) {
	if g.failed != nil {
		return nil, g.failed
	}
	if seq, _ := g.part.Position(); seq == g.saved {
		// What was committed before may have failed to become durable since.
		return nil, g.store.Failed()
	}
	c, err := g.part.Capture()
	g.failed = err
	return c, err
}

func (g *generation) commitLocked(c *projections.Checkpoint) error {
	if g.failed = g.store.Commit(c); g.failed != nil {
		return g.failed
	}
	g.saved = c.Sequence
	g.part.Committed(c)
	return nil
}

// checkpointBehind waits for the checkpoint that is under way, if there is one, and has the next one written while the fold goes on.
// What writing it fails with, the checkpoint after it returns.
func (g *generation) checkpointBehind() error {
	done := g.store.Hurry()
	g.checkpointing.Lock()
	done()
	c, err := g.captureLocked()
	if err != nil || c == nil {
		g.checkpointing.Unlock()
		return err
	}
	g.behind.Go(func() {
		defer g.checkpointing.Unlock()
		_ = g.commitLocked(c)
	})
	return nil
}

// relieve wants a checkpoint when much has changed since the last one. When too much has, the fold waits until that is captured.
func (g *generation) relieve(kick chan<- struct{}) error {
	switch n := g.part.Changes(); {
	case n > mostChanges:
		return g.checkpointBehind()
	case n > manyChanges:
		select {
		case kick <- struct{}{}:
		default: // one is wanted already
		}
	}
	return nil
}

// snapshot checkpoints and returns the state at the position of that checkpoint.
func (g *generation) snapshot() (snap *store.Snapshot, sequence uint64, err error) {
	defer g.store.Hurry()()
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if err := g.checkpointLocked(); err != nil {
		return nil, 0, err
	}
	return g.store.Snapshot(), g.saved, nil
}

func (g *generation) close() error {
	err := g.checkpoint()
	return errors.Join(err, g.store.Close())
}

// replaceGeneration puts an empty generation in the place of the current one.
func replaceGeneration(root string, old *generation, o genOptions) (*generation, error) {
	dir, err := nextGeneration(root)
	if err != nil {
		return nil, errors.Join(err, old.close())
	}
	g, err := openGeneration(dir, o)
	if err != nil {
		return nil, errors.Join(err, old.close())
	}
	if err := setCurrent(root, dir); err != nil {
		return nil, errors.Join(err, g.remove(), old.close())
	}
	if err := old.remove(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// remove closes a generation that is not the current one and removes it.
func (g *generation) remove() error {
	g.behind.Wait()
	err := g.store.Discard()
	if rm := os.RemoveAll(g.dir); rm != nil {
		err = errors.Join(err, fmt.Errorf("remove generation: %w", rm))
	}
	return err
}

// Generations lie in numbered directories beside a file that names the current one.
const currentFile = "CURRENT"

// currentGeneration returns the directory of the current generation, a first one if there is none yet, and
// removes what an interrupted rebuild left behind.
func currentGeneration(root string) (string, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	name, err := os.ReadFile(filepath.Join(root, currentFile))
	if errors.Is(err, os.ErrNotExist) {
		dir := filepath.Join(root, generationName(1))
		return dir, setCurrent(root, dir)
	}
	if err != nil {
		return "", fmt.Errorf("read current generation: %w", err)
	}
	current := strings.TrimSpace(string(name))
	if _, err := strconv.Atoi(current); err != nil {
		// All generations would look left over.
		return "", fmt.Errorf("read current generation: %q in %s is no generation", current, filepath.Join(root, currentFile))
	}
	numbers, err := generations(root)
	if err != nil {
		return "", err
	}
	for _, n := range numbers {
		if other := generationName(n); other != current {
			if err := os.RemoveAll(filepath.Join(root, other)); err != nil {
				return "", fmt.Errorf("remove left-over generation: %w", err)
			}
		}
	}
	return filepath.Join(root, current), nil
}

// nextGeneration returns a directory that no generation has had.
func nextGeneration(root string) (string, error) {
	numbers, err := generations(root)
	if err != nil {
		return "", err
	}
	n := 1
	if len(numbers) > 0 {
		n = slices.Max(numbers) + 1
	}
	return filepath.Join(root, generationName(n)), nil
}

func generationName(n int) string { return fmt.Sprintf("%06d", n) }

func generations(root string) ([]int, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// setCurrent makes dir the current generation, in one step and for good.
func setCurrent(root, dir string) error {
	if err := replaceFile(filepath.Join(root, currentFile), []byte(filepath.Base(dir)+"\n")); err != nil {
		return fmt.Errorf("switch generation: %w", err)
	}
	return nil
}

// replaceFile writes a file in one step and for good: whatever happens, it has the old content or the new.
func replaceFile(path string, content []byte) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// errCutOff is for a state that the log neither agrees with nor can replace.
var errCutOff = errors.New("the log is shorter than the state or has another entry at its position, and no longer reaches back to its start; " +
	"if ClickHouse has what is missing, move the directory of the state away and run receiptctl replay --from archive")

// agrees reports whether the state stands on an entry that the log has. It is false for a log that came
// back shorter than the state, or with another entry at its position, and that has all it takes to fold the
// state again.
func agrees(ctx context.Context, log Log, partition int, g *generation) (bool, error) {
	seq, fingerprint := g.part.Position()
	if seq == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	first, last, err := log.Bounds(ctx, partition)
	if err != nil {
		return false, fmt.Errorf("compare state with log: %w", err)
	}
	// What retention took cannot be compared; what follows is contiguous, or the reader says so.
	ok := seq < first
	if first <= seq && seq <= last {
		e, err := log.EntryAt(ctx, partition, seq)
		if err != nil {
			return false, fmt.Errorf("compare state with log: %w", err)
		}
		ok = eventlog.Fingerprint(e) == fingerprint
	}
	if !ok && first > 1 {
		return false, fmt.Errorf("%w: position %d, log from %d to %d", errCutOff, seq, first, last)
	}
	return ok, nil
}
