package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// State is what snapshots are made of. [projector.Projector] is one.
type State interface {
	// Folded is the last entry folded, of each partition.
	Folded() []uint64
	// Serves reports whether there is a copy of a partition that has an entry in it.
	Serves(partition int, sequence uint64) bool
	// Export writes the state of a partition to a directory, which is not there yet.
	Export(ctx context.Context, partition int, dir string) (store.StateInfo, error)
}

// Maker makes snapshots, as the one writer.
type Maker struct {
	Reader *Reader
	State  State
	Writer *cluster.Writer
	// Node is its name in the snapshots; empty for a server that is alone.
	Node string
	// Dir is a directory on the state's disk for what is under way. It is emptied.
	Dir string
	// Every is the time between two snapshots of a partition that goes on.
	Every time.Duration
	// Furthest is the last entry of a partition that a node has folded, as far as is known; nil for
	// a server that is alone.
	Furthest func(partition int) uint64
	// Rate is how many bytes a second are stored, and read back, at most.
	Rate int64
	// Room says what keeps so many bytes from being written to the disk; nil if nothing does.
	Room   func(bytes int64) error
	Logger *slog.Logger

	pace *rate.Limiter
	kept [][]Kept // of each partition
}

const (
	// lookEvery is how often the maker looks whether a snapshot is due, at most.
	lookEvery = 5 * time.Second
	burst     = 4 << 20
)

var errOldRules = errors.New("the state is that of the rules of an earlier version")

// Run makes snapshots until the context ends, or another writer is to go on: nil if what is due is
// of partitions that only other nodes have, otherwise what failed, or [cluster.ErrFenced].
func (m *Maker) Run(ctx context.Context) error {
	m.begin()
	if err := m.takeOver(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(min(m.Every, lookEvery))
	defer tick.Stop()
	for {
		if err := m.all(ctx); err != nil || m.elsewhere() || ctx.Err() != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// all makes those that are due, as far as it can.
func (m *Maker) all(ctx context.Context) (failed error) {
	for k := range m.Reader.Partitions {
		if !m.due(k) {
			continue
		}
		err := m.snapshot(ctx, k)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, cluster.ErrFenced):
			return err
		case err != nil:
			m.Reader.Counts.Failures.Add(1)
			failed = errors.Join(failed, fmt.Errorf("partition %d: %w", k, err))
		}
	}
	return failed
}

func (m *Maker) begin() { m.pace = rate.NewLimiter(rate.Limit(m.Rate), burst) }

// takeOver takes what the writer before left, and removes what it did not finish. From here on it
// can finish nothing any more.
func (m *Maker) takeOver(ctx context.Context) error {
	m.kept = make([][]Kept, m.Reader.Partitions)
	for k := range m.kept {
		text, err := m.Writer.Read(ctx, k)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		n, err := parseNote(text)
		if err != nil {
			m.Logger.Warn("what is noted of the snapshots is damaged; they are made anew", "partition", k, "error", err)
		}
		m.kept[k] = n.Kept
		m.Reader.known(k, n.Kept)
	}
	if err := os.RemoveAll(m.Dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return m.tidy(ctx)
}

// due reports whether a partition has gone on that is here, and its last snapshot is old.
func (m *Maker) due(partition int) bool {
	return due(m.State, partition, m.last(partition), m.Every)
}

func (m *Maker) last(partition int) (last Kept) {
	if kept := m.kept[partition]; len(kept) > 0 {
		last = kept[0]
	}
	return last
}

func due(state State, partition int, last Kept, every time.Duration) bool {
	return time.Since(last.Made) >= every && state.Serves(partition, last.Sequence+1)
}

// elsewhere reports whether a snapshot is due of a partition that is not here.
func (m *Maker) elsewhere() bool {
	for k := range m.Reader.Partitions {
		last := m.last(k)
		if m.Furthest != nil && !m.State.Serves(k, 0) && time.Since(last.Made) >= m.Every && m.Furthest(k) > last.Sequence {
			return true
		}
	}
	return false
}

// Due reports whether a snapshot is due of a partition that is here, as far as a reader knows.
func Due(r *Reader, state State, every time.Duration) bool {
	return slices.ContainsFunc(r.Status(), func(s Status) bool { return due(state, s.Partition, s.Last, every) })
}

// snapshot makes one of a partition, reads it back, and has it take the place of the oldest one.
func (m *Maker) snapshot(ctx context.Context, k int) (err error) {
	began := time.Now()
	export, check := filepath.Join(m.Dir, "export"), filepath.Join(m.Dir, "check")
	defer func() { err = errors.Join(err, os.RemoveAll(m.Dir)) }()
	if err := errors.Join(os.RemoveAll(m.Dir), os.MkdirAll(m.Dir, 0o700)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	facts, err := m.State.Export(ctx, k, export)
	if err != nil {
		return err
	}
	if facts.Rules != projections.Rules {
		return errOldRules
	}
	if kept := m.kept[k]; len(kept) > 0 && facts.Sequence <= kept[0].Sequence {
		return nil // there is one of this state, or of a later one
	}
	files, total, err := listFiles(export, m.waitFor(ctx))
	if err != nil {
		return err
	}
	if err := m.Room(2 * total); err != nil { // of the state's hard links, and to read it back
		return fmt.Errorf("snapshot: %w", err)
	}
	stored, err := m.storedFiles(ctx, k)
	if err != nil {
		return err
	}
	made := manifest{
		Version: manifestVersion, Partition: k, Partitions: m.Reader.Partitions, Made: began.UTC(), Node: m.Node, StateInfo: facts, Files: files,
	}
	uploaded, err := m.store(ctx, &made, export, stored)
	if err == nil {
		err = m.Reader.files(ctx, &made, check, m.waitFor(ctx))
	}
	if errors.Is(err, errDamaged) && len(stored) > 0 { // of an earlier one: everything once more
		m.Logger.Warn("files of earlier snapshots are damaged; all are stored again", "partition", k, "error", err)
		if uploaded, err = m.store(ctx, &made, export, nil); err == nil {
			err = m.Reader.files(ctx, &made, check, m.waitFor(ctx))
		}
	}
	if err != nil {
		return err
	}
	if err := m.keep(ctx, &made, total); err != nil {
		return err
	}
	m.Reader.Counts.Made.Add(1)
	m.Logger.Info("a snapshot was made", "partition", k, "entry", facts.Sequence, "bytes", total, "stored", uploaded, "took", time.Since(began).Round(time.Millisecond))
	return m.tidy(ctx)
}

// tidy sweeps. What is left is removed the next time.
func (m *Maker) tidy(ctx context.Context) error {
	err := m.sweep(ctx)
	if err == nil || errors.Is(err, cluster.ErrFenced) || ctx.Err() != nil {
		return err
	}
	m.Logger.Warn("objects that no snapshot needs any more are kept for now", "error", err)
	return nil
}

// storedFiles are the files of the snapshots of a partition that are kept, by their hashes: of two
// objects with one content that of the newer snapshot, for which the older one may have been
// damaged.
func (m *Maker) storedFiles(ctx context.Context, k int) (map[string]File, error) {
	stored := map[string]File{}
	for _, one := range slices.Backward(m.kept[k]) {
		old, err := m.Reader.manifest(ctx, &one)
		if errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, f := range old.Files {
			stored[f.SHA256] = f
		}
	}
	return stored, nil
}

// store puts the files of a snapshot into the object store that are not there, and says in the
// manifest which objects they are. The name of an object has the writer's term in it: so whatever a
// writer of before still removes, it is nothing of this one. It has the snapshot's partition and
// entry in it, too: an object that is put once more has other chunks, and what of those is needed
// would be known only to the snapshot for which that was done.
func (m *Maker) store(ctx context.Context, made *manifest, dir string, stored map[string]File) (uploaded int64, err error) {
	have := maps.Clone(stored)
	if have == nil {
		have = map[string]File{}
	}
	for i := range made.Files {
		f := &made.Files[i]
		if old, ok := have[f.SHA256]; ok || f.Size == 0 {
			f.Object, f.NUID = old.Object, old.NUID
			continue
		}
		file, err := os.Open(filepath.Join(dir, f.Name))
		if err != nil {
			return uploaded, fmt.Errorf("snapshot: %w", err)
		}
		f.Object = fmt.Sprintf("%d-p%d-%d-%s", m.Writer.Term(), made.Partition, made.Sequence, f.SHA256)
		f.NUID, err = m.Reader.Objects.put(ctx, f.Object, &pacedReader{r: file, wait: m.waitFor(ctx)})
		if err = errors.Join(err, file.Close()); err != nil {
			return uploaded, err
		}
		have[f.SHA256] = *f
		uploaded += f.Size
		m.Reader.Counts.UploadedBytes.Add(uint64(f.Size))
	}
	return uploaded, nil
}

// keep stores the manifest and has the snapshot take the place of the oldest one, unless another
// writer has taken over.
func (m *Maker) keep(ctx context.Context, made *manifest, bytesOf int64) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	k := made.Partition
	f := File{
		Name: "manifest", Object: fmt.Sprintf("%d-p%d-%d", m.Writer.Term(), k, made.Sequence), Size: int64(len(text)), SHA256: hashOf(text),
	}
	if f.NUID, err = m.Reader.Objects.put(ctx, f.Object, bytes.NewReader(text)); err != nil {
		return err
	}
	one := Kept{Manifest: f, Sequence: made.Sequence, Digest: made.Digest, Made: made.Made, Bytes: bytesOf}
	if _, err := m.Reader.manifest(ctx, &one); err != nil {
		return err
	}
	kept := append([]Kept{one}, m.kept[k]...)
	kept = kept[:min(len(kept), keptMax)]
	if err := m.note(ctx, k, kept); err != nil {
		return err
	}
	m.kept[k] = kept
	m.Reader.known(k, kept)
	return nil
}

func (m *Maker) note(ctx context.Context, k int, kept []Kept) error {
	text, err := json.Marshal(note{kept})
	if err == nil {
		err = m.Writer.Write(ctx, k, text)
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// sweep removes the objects that no snapshot has that is kept. That this is still the writer is
// certain after the objects were listed: a later writer began to store only then, and nothing of
// what it stores can be in the list.
func (m *Maker) sweep(ctx context.Context) error {
	var keep []File
	for k := range m.kept {
		for i := range m.kept[k] {
			one := &m.kept[k][i]
			manifest, err := m.Reader.manifest(ctx, one)
			if err != nil {
				return err // what it has is not known; it is damaged, or cannot be read now
			}
			keep = append(append(keep, one.Manifest), manifest.Files...)
		}
	}
	list, err := m.Reader.Objects.leftovers(ctx, keep)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := m.note(ctx, 0, m.kept[0]); err != nil {
		return err
	}
	for _, subject := range list {
		if err := m.Reader.Objects.remove(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// waitFor waits until so many bytes may be moved.
func (m *Maker) waitFor(ctx context.Context) func(int64) error {
	return func(n int64) error {
		for n > 0 {
			part := min(n, burst)
			if err := m.pace.WaitN(ctx, int(part)); err != nil {
				return err
			}
			n -= part
		}
		return nil
	}
}
