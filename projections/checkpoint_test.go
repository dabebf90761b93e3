package projections_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

var errDisk = errors.New("the disk is gone")

// faulty is a backing that fails for good after a number of calls.
type faulty struct {
	memory
	calls int // that will still succeed
}

func (f *faulty) Get(key []byte) ([]byte, error) {
	if f.calls--; f.calls < 0 {
		return nil, errDisk
	}
	return f.memory.Get(key)
}

func (f *faulty) Scan(prefix []byte, each func(key, value []byte) error) error {
	if f.calls--; f.calls < 0 {
		return errDisk
	}
	return f.memory.Scan(prefix, each)
}

// TestFailedApplyLeavesNothingBehind: an entry that was applied in part must not get into a
// checkpoint, or the rest of its events would be lost.
func TestFailedApplyLeavesNothingBehind(t *testing.T) {
	logs := history.Logs()
	failed := 0
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		disk := &faulty{memory: memory{}, calls: rapid.IntRange(30, 300).Draw(t, "calls")}
		f := newFold(t, disk, 1)
		for _, e := range log {
			if e.Poison != "" {
				f.apply(e)
				continue
			}
			f.log = append(f.log, e)
			f.batch.SetEvents(e.Events)
			x := projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence * 31, Leaf: leafOf(e.Sequence), Batch: &f.batch}
			if _, err := f.part.Apply(x); err == nil {
				f.commit()
				continue
			} else if !errors.Is(err, errDisk) {
				t.Fatalf("apply %d: %v", e.Sequence, err)
			}
			failed++
			if c, err := f.part.Capture(); c != nil || !errors.Is(err, errDisk) {
				t.Fatalf("captured %v after a failure, error %v", c, err)
			}
			if at, _ := f.part.Position(); at >= e.Sequence {
				t.Fatalf("the position is %d after entry %d failed", at, e.Sequence)
			}
			if _, err := f.part.IsMember("o#a", "g1", "u1"); !errors.Is(err, errDisk) {
				t.Fatalf("a question after a failure has the error %v", err)
			}
			x.Sequence++
			if _, err := f.part.Apply(x); !errors.Is(err, errDisk) {
				t.Fatalf("applied another entry after a failure: %v", err)
			}
			disk.calls = 1 << 30
			f.crash()
		}
		straight := newFold(t, memory{}, 0)
		for _, e := range log {
			straight.apply(e)
		}
		straight.commitAll()
		f.commitAll()
		if a, b := straight.state.dump(), disk.dump(); a != b {
			t.Fatalf("the states differ:\nstraight:\n%s\nafter a failure:\n%s", a, b)
		}
	})
	if failed == 0 {
		t.Error("the backing never failed")
	}
}

// TestCheckpointIsTheStateAtItsSequence: what is folded between capture and commit is not in it.
func TestCheckpointIsTheStateAtItsSequence(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		at := rapid.IntRange(0, len(log)-1).Draw(t, "captured after")
		f, model := newFold(t, memory{}, 1), oracle.NewWithLimits(0, history.SmallLimits())
		for i, e := range log {
			f.apply(e)
			if i <= at {
				e.Apply(model)
			}
			if i == at {
				f.capture()
			}
		}
		if f.captured.Sequence != log[at].Sequence {
			t.Fatalf("captured at %d, want %d", f.captured.Sequence, log[at].Sequence)
		}
		f.commit()
		f.open() // what came after the capture is forgotten
		compareWithModel(t, f.part, model)
		if seq, fingerprint := f.part.Position(); seq != log[at].Sequence || fingerprint != seq*31 {
			t.Fatalf("opened at %d with fingerprint %d", seq, fingerprint)
		}
	})
}

// TestEntriesComeInOrder: an entry that was applied before, or an older one, is refused and changes
// nothing.
func TestEntriesComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := history.Logs().Draw(t, "log")
		f := newFold(t, memory{}, 0)
		for _, e := range log {
			f.apply(e)
			again := log[rapid.IntRange(0, slices.Index(sequences(log), e.Sequence)).Draw(t, "again")]
			f.batch.SetEvents(again.Events)
			if _, err := f.part.Apply(projections.Decoded{Sequence: again.Sequence, At: again.At, Batch: &f.batch}); err == nil {
				t.Fatalf("entry %d was applied after %d", again.Sequence, e.Sequence)
			}
		}
		straight := newFold(t, memory{}, 0)
		for _, e := range log {
			straight.apply(e)
		}
		f.commitAll()
		straight.commitAll()
		if f.state.dump() != straight.state.dump() {
			t.Fatal("a refused entry changed the state")
		}
	})
}

func sequences(log history.Log) (list []uint64) {
	for _, e := range log {
		list = append(list, e.Sequence)
	}
	return list
}
