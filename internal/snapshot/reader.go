package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// WriterName names the writer that makes snapshots.
const WriterName = "snapshots"

// Reasons for which a snapshot is passed over.
const (
	PassedDamaged = "damaged" // it is not what was made
	PassedRules   = "rules"   // it was folded by other rules
	PassedUnfit   = "unfit"   // it does not fit this log or the state here
)

// Counts are what was done since the start.
type Counts struct {
	Made, Failures, UploadedBytes atomic.Uint64
	Damaged, Rules, Unfit         atomic.Uint64 // passed over
}

// Status is what is known of a partition's snapshots.
type Status struct {
	Partition int
	// Last and Before are the two that are kept; zeros for none.
	Last, Before Kept
}

// Reader finds snapshots. Its methods may be called from many goroutines.
type Reader struct {
	// Objects has the snapshots, and Notes which of them are kept.
	Objects *Bucket
	Notes   cluster.Register
	// Partitions is how many the log has.
	Partitions int
	Logger     *slog.Logger
	Counts     Counts

	mu     sync.Mutex
	status []Status
}

// What a snapshot is passed over for, beside damage.
var (
	errRules = errors.New("it was folded by other rules")
	errUnfit = errors.New("it does not fit")
)

// kept returns the snapshots of a partition, newest first.
func (r *Reader) kept(ctx context.Context, partition int) ([]Kept, error) {
	text, err := cluster.ReadNote(ctx, r.Notes, WriterName, partition)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	n, err := parseNote(text)
	if err != nil {
		r.Logger.Warn("what is noted of the snapshots is damaged; there are none", "partition", partition, "error", err)
	}
	r.known(partition, n.Kept)
	return n.Kept, nil
}

// known keeps what the status shows.
func (r *Reader) known(partition int, kept []Kept) {
	s := Status{Partition: partition}
	if len(kept) > 0 {
		s.Last = kept[0]
	}
	if len(kept) > 1 {
		s.Before = kept[1]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.status) < r.Partitions {
		r.status = append(r.status, Status{Partition: len(r.status)})
	}
	r.status[partition] = s
}

// Status is what was known of each partition's snapshots when they were looked at last.
func (r *Reader) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Status(nil), r.status...)
}

// Refresh looks at the snapshots of all partitions.
func (r *Reader) Refresh(ctx context.Context) error {
	for k := range r.Partitions {
		if _, err := r.kept(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// Covered is the entry of a partition that two snapshots have, once there are two of every
// partition; 0 before. Those that follow it have to stay in the log, and it itself too: it is what
// a snapshot is compared by.
func (r *Reader) Covered(ctx context.Context, partition int) (sequence uint64, err error) {
	kept, err := r.kept(ctx, partition)
	if err != nil || len(kept) < keptMax {
		return 0, err
	}
	for _, s := range r.Status() { // of the others; once there are two there always are
		if s.Before.Sequence == 0 {
			return 0, nil
		}
	}
	return kept[keptMax-1].Sequence, nil
}

// fetchRounds is how often the snapshots are looked for that have taken the place of those that
// went while they were fetched.
const fetchRounds = 3

// Fetch implements the projector's Snapshots: it writes the files of the newest snapshot that is
// good, and that use has nothing against, to a directory.
func (r *Reader) Fetch(ctx context.Context, partition int, dir string, use func(store.StateInfo) error) (f store.StateInfo, ok bool, err error) {
	var tried []Kept
	for range fetchRounds {
		kept, err := r.kept(ctx, partition)
		if err != nil {
			return f, false, err
		}
		if reflect.DeepEqual(kept, tried) {
			return f, false, nil
		}
		for i := range kept {
			m, err := r.fetch(ctx, partition, &kept[i], dir, use)
			if ctx.Err() != nil {
				return f, false, context.Cause(ctx)
			}
			if err == nil {
				return m.StateInfo, true, nil
			}
			if !r.passOver(partition, &kept[i], err) {
				return f, false, err
			}
		}
		tried = kept
	}
	return f, false, nil
}

// passOver tells of a snapshot that is not begun from. It is false for an error that is no fault of
// the snapshot.
func (r *Reader) passOver(partition int, k *Kept, err error) bool {
	var reason string
	switch {
	case errors.Is(err, errDamaged), errors.Is(err, store.ErrCorrupt):
		reason = PassedDamaged
		r.Counts.Damaged.Add(1)
	case errors.Is(err, errRules):
		reason = PassedRules
		r.Counts.Rules.Add(1)
	case errors.Is(err, errUnfit):
		reason = PassedUnfit
		r.Counts.Unfit.Add(1)
	default:
		return false
	}
	r.Logger.Warn("a snapshot is passed over", "partition", partition, "entry", k.Sequence, "reason", reason, "error", err)
	return true
}

func (r *Reader) fetch(ctx context.Context, partition int, k *Kept, dir string, use func(store.StateInfo) error) (m manifest, err error) {
	if m, err = r.manifest(ctx, k); err != nil {
		return m, err
	}
	switch {
	case m.Rules != projections.Rules:
		return m, fmt.Errorf("%w: %d, and these are %d", errRules, m.Rules, projections.Rules)
	case m.Level > projections.MaxLevel():
		return m, fmt.Errorf("%w: it is at level %d, and this version knows those up to %d", errRules, m.Level, projections.MaxLevel())
	case m.Partition != partition || !grownTo(m.Partitions, r.Partitions):
		return m, fmt.Errorf("%w: it is of partition %d of %d", errUnfit, m.Partition, m.Partitions)
	}
	if err := use(m.StateInfo); err != nil {
		return m, fmt.Errorf("%w: %w", errUnfit, err)
	}
	return m, r.files(ctx, &m, dir, nil)
}

// manifest reads the manifest of a snapshot.
func (r *Reader) manifest(ctx context.Context, k *Kept) (manifest, error) {
	var text bytes.Buffer
	err := r.Objects.get(ctx, &k.Manifest, func() (io.Writer, error) {
		text.Reset()
		return &text, nil
	})
	if err != nil {
		return manifest{}, err
	}
	return parseManifest(text.Bytes(), *k)
}

// files writes the files of a snapshot to a directory, which is made empty first, and compares the
// state in it with the manifest. pace, if not nil, is asked before each file.
func (r *Reader) files(ctx context.Context, m *manifest, dir string, pace func(bytes int64) error) error {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	for i := range m.Files {
		f := &m.Files[i]
		if pace != nil {
			if err := pace(f.Size); err != nil {
				return err
			}
		}
		if err := r.file(ctx, f, filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncDir(dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	facts, err := store.Inspect(ctx, dir)
	if err == nil && facts != m.StateInfo {
		err = fmt.Errorf("%w: its state is %+v, the manifest says %+v", errDamaged, facts, m.StateInfo)
	}
	return err
}

// file writes a file of a snapshot and syncs it.
func (r *Reader) file(ctx context.Context, f *File, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if f.Size > 0 { // Pebble's markers are names alone
		err = r.Objects.get(ctx, f, func() (io.Writer, error) {
			_, err := file.Seek(0, io.SeekStart)
			return file, errors.Join(err, file.Truncate(0))
		})
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// grownTo reports whether a log that had so many partitions may have so many now.
func grownTo(had, has int) bool {
	for had > 0 && had < has {
		had *= 2
	}
	return had == has
}
