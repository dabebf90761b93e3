package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/lab/consumertest"
)

// Partitions have files of one content. When a maker dies after it has stored those of one
// partition and before it has kept the snapshot, what the next one removes is nothing of another
// partition's.
func TestUnfinishedSnapshotTakesNothingFromAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	if err := w.maker.snapshot(w.ctx, w.k); err != nil {
		t.Fatal(err)
	}
	kept := w.kept()[0]
	ours := map[string]bool{}
	for _, f := range consumertest.Must[manifest](t)(w.reader.manifest(w.ctx, &kept)).Files {
		ours[f.SHA256] = true
	}

	other := w.unfinished(1 - w.k)
	shared := 0
	for _, f := range other.Files {
		if ours[f.SHA256] {
			shared++
		}
	}
	if shared == 0 {
		t.Fatal("the partitions have no file of one content")
	}
	w.maker = w.newMaker("b") // which sweeps
	if at := w.fetched(); at != kept.Sequence || w.reader.Counts.Damaged.Load() != 0 {
		t.Errorf("fetched is the snapshot at %d, want that at %d; %d are damaged", at, kept.Sequence, w.reader.Counts.Damaged.Load())
	}
}

// unfinished stores the files of a partition's snapshot, and goes no further.
func (w *world) unfinished(k int) (made manifest) {
	w.t.Helper()
	export := filepath.Join(w.t.TempDir(), "export")
	var err error
	if made.StateInfo, err = w.live.Export(w.ctx, k, export); err == nil {
		made.Partition = k
		made.Files, _, err = listFiles(export, w.maker.waitFor(w.ctx))
	}
	if err == nil {
		_, err = w.maker.store(w.ctx, &made, export, nil)
	}
	if err = errors.Join(err, os.RemoveAll(export)); err != nil {
		w.t.Fatal(err)
	}
	return made
}

// Files that were damaged are stored again under the next snapshot, and those after it are as good
// as it.
func TestFilesThatAreStoredAgainStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		w.more()
	}
	for round := range 4 {
		w.more()
		w.snapshots()
		if at, newest := w.fetched(), w.kept()[0].Sequence; at != newest {
			t.Errorf("round %d: fetched is the snapshot at %d, want %d", round, at, newest)
		}
		if round == 0 {
			kept := w.kept()
			w.damage(w.table(&kept[0]))
		}
	}
	kept := w.kept()
	for i := range kept {
		for _, f := range consumertest.Must[manifest](t)(w.reader.manifest(w.ctx, &kept[i])).Files {
			if f.Size == 0 {
				continue
			}
			if o := consumertest.Must[*jetstream.ObjectInfo](t)(w.reader.Objects.store.GetInfo(w.ctx, f.Object)); o.NUID != f.NUID {
				t.Errorf("snapshot %d: %s is noted with other chunks than it has", i, f.Name)
			}
		}
	}
}

// An object whose chunks are gone is not waited for.
func TestObjectWithoutItsChunksIsDamagedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	w.snapshots()
	w.more()
	w.snapshots()
	kept := w.kept()
	gone := w.table(&kept[0])
	stream := consumertest.Must[jetstream.Stream](t)(w.reader.Objects.js.Stream(w.ctx, w.reader.Objects.stream))
	if err := stream.Purge(w.ctx, jetstream.WithPurgeSubject("$O."+BucketName+".C."+gone.NUID)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if at := w.fetched(); at == kept[0].Sequence || w.reader.Counts.Damaged.Load() == 0 {
		t.Errorf("fetched is the snapshot at %d, whose table is gone", at)
	}
	if took := time.Since(began); took > getTimeout {
		t.Errorf("what is gone was waited for: %v", took)
	}
}

// A snapshot is none before the writer's note has it, although all its files and its manifest are
// stored: the one before holds, and the next maker removes what is there.
func TestSnapshotWithoutItsNoteIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	if err := w.maker.snapshot(w.ctx, w.k); err != nil {
		t.Fatal(err)
	}
	kept := w.kept()[0]
	before := consumertest.Must[[]string](t)(w.reader.Objects.leftovers(w.ctx, nil))

	w.more()
	made := w.unfinished(w.k)
	text := consumertest.Must[[]byte](t)(json.Marshal(made))
	name := fmt.Sprintf("%d-p%d-%d", w.maker.Writer.Term(), w.k, made.Sequence)
	consumertest.Must[string](t)(w.reader.Objects.put(w.ctx, name, bytes.NewReader(text)))
	if made.Sequence <= kept.Sequence {
		t.Fatal("the state has not gone on")
	}
	if at := w.fetched(); at != kept.Sequence {
		t.Errorf("fetched is the snapshot at %d, want that at %d", at, kept.Sequence)
	}
	w.maker = w.newMaker("b") // which sweeps
	if at := w.fetched(); at != kept.Sequence {
		t.Errorf("after the sweep, fetched is the snapshot at %d, want that at %d", at, kept.Sequence)
	}
	if left := consumertest.Must[[]string](t)(w.reader.Objects.leftovers(w.ctx, nil)); !slices.Equal(left, before) {
		t.Errorf("%d subjects are left, want the %d of before", len(left), len(before))
	}
}
