package projector

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// sparse starts a projector that begins with the partitions that lie in a directory.
func sparse(t *testing.T, log Log, dir string) *running {
	t.Helper()
	return start(t, log, Options{Dir: dir, Sparse: true})
}

// exported are snapshots that are made of a projector's state as it is asked for them.
type exported struct{ *Projector }

// Fetch implements Snapshots.
func (x exported) Fetch(ctx context.Context, partition int, dir string, use func(store.StateInfo) error) (f store.StateInfo, ok bool, err error) {
	if err := os.Remove(dir); err != nil {
		return f, false, err
	}
	if f, err = x.Export(ctx, partition, dir); err != nil {
		return f, false, err
	}
	return f, use(f) == nil, nil
}

// bring has a partition be here, and waits until it answers.
func (r *running) bring(partition int) {
	r.t.Helper()
	if err := r.AddCopy(testContext(r.t), partition); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the copy answers", func() bool { return r.Serves(partition, 0) })
}

// What is not here takes nothing, answers nothing, and keeps nothing from being ready; what is
// brought here is what it would be anywhere; and of what leaves nothing stays.
func TestPartitionsComeAndGo(t *testing.T) {
	log := openLog(t, 3)
	log.Group(3)
	log.Traffic(smallTraffic(1), 3000)
	want := straight(t, log)
	dir := t.TempDir()
	r := sparse(t, log, dir)
	if err := r.Ready(); err != nil {
		t.Errorf("with nothing here it is not ready: %v", err)
	}
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		t.Errorf("what is not here lies in %v", list)
	}
	if _, err := r.Message(app, "m0"); !errors.Is(err, ErrAbsent) || !errors.Is(err, ErrFoldingAgain) {
		t.Errorf("a question for what is not here is answered by %v", err)
	}
	for round := range 3 {
		for _, k := range []int{1, 0, 2} {
			r.bring(k)
			if d, err := r.Digest(testContext(t), k); err != nil || d.Digest != want[k] {
				t.Errorf("round %d: partition %d is %v, %v; want %s", round, k, d, err, want[k])
			}
		}
		if _, known, ok := r.Settings(app); !ok || known == 0 {
			t.Error("the app is not known")
		}
		if err := r.DropCopy(1); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(r.workers[1].root); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory of what has left is there: %v", err)
		}
		if p := r.CopyState(1); p != copystate.Absent || r.Serves(1, 0) || r.FoldingAgain(1) || r.Stats()[1].CopyState != copystate.Absent {
			t.Errorf("what has left is here: %v", p)
		}
		if _, _, ok := r.Settings(app); !ok || !slices.Contains(r.Apps(), app) {
			t.Error("with two of three partitions the app is not known")
		}
		result, err := r.Rebuild(testContext(t), RebuildOptions{})
		if err != nil || !result.Equal || len(result.Partitions) != 2 || result.Partitions[1].Partition != 2 || !slices.Equal(result.Elsewhere, []int{1}) {
			t.Errorf("a rebuild of what is here: %+v, %v", result, err)
		}
		if err := errors.Join(r.DropCopy(0), r.DropCopy(2), r.DropCopy(2), r.Ready()); err != nil {
			t.Fatal(err)
		}
	}
}

// What was here when a process ended is here in the next one, and what was not is not.
func TestPartitionsThatAreHereStayOverRestarts(t *testing.T) {
	log := openLog(t, 3)
	log.Group(2)
	log.Put(1, burst(0, 5, 2)...)
	dir := t.TempDir()
	for _, crash := range []bool{false, true} {
		r := sparse(t, log, dir)
		r.bring(1)
		r.bring(2)
		if err := r.DropCopy(2); err != nil {
			t.Fatal(err)
		}
		if crash {
			r.crash()
		} else {
			r.stop()
		}
		r = sparse(t, log, dir)
		for k, want := range []copystate.State{copystate.Absent, copystate.Here, copystate.Absent} {
			if got := r.CopyState(k); got != want {
				t.Errorf("after a crash %v: partition %d is %v, want %v", crash, k, got, want)
			}
		}
		r.stop()
	}
}

// A directory whose removal was cut off is no state.
func TestHalfRemovedPartitionsAreNone(t *testing.T) {
	log := openLog(t, 1)
	log.Group(2)
	dir := t.TempDir()
	r := sparse(t, log, dir)
	r.bring(0)
	r.stop()
	if err := os.Remove(r.workers[0].root + "/" + fold.CurrentFile); err != nil {
		t.Fatal(err)
	}
	r = sparse(t, log, dir)
	if p := r.CopyState(0); p != copystate.Absent {
		t.Errorf("it is %v", p)
	}
	r.bring(0)
	if want := straight(t, log); !slices.Equal(r.digests(t), want) {
		t.Errorf("it begins from what was left: %v, want %v", r.digests(t), want)
	}
}

// Whoever waits for an entry that was folded elsewhere meanwhile waits no longer than until a copy
// begins behind it, and what was said to be folded stays so.
func TestWaitersOfPartitionsThatComeFromSnapshots(t *testing.T) {
	log := openLog(t, 1)
	log.Group(2)
	log.Put(1, burst(0, 5, 2)...)
	first := start(t, log, Options{})
	first.caughtUp()
	r := start(t, log, Options{Sparse: true, Snapshots: exported{first.Projector}})
	last := log.Last(0)
	waiting := make(chan error, 1)
	go func() { waiting <- r.WaitFor(testContext(t), 0, last-1) }()
	time.Sleep(10 * time.Millisecond) // so that it waits; if it does not yet, less is tested
	r.bring(0)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if _, err := r.Outcomes(testContext(t), 0, last); !errors.Is(err, ErrOutcomeGone) {
		t.Errorf("the outcomes of an entry before the snapshot: %v", err)
	}
	if at := r.Folded()[0]; at != last {
		t.Fatalf("it stands at %d, want %d", at, last)
	}
	if err := r.DropCopy(0); err != nil {
		t.Fatal(err)
	}
	log.Put(2, burst(5, 5, 2)...)
	first.caughtUp()
	if at := r.Folded()[0]; at != last {
		t.Errorf("what has left stands at %d, want %d", at, last)
	}
	r.bring(0)
	r.caughtUp()
	if got, want := r.digests(t), straight(t, log); !slices.Equal(got, want) {
		t.Errorf("it is %v, want %v", got, want)
	}
}

// Users who are online are told of nothing that happened before a copy came.
func TestPartitionsThatComeTellNoOldNews(t *testing.T) {
	log := openLog(t, 1)
	log.Group(2)
	log.Put(1, burst(0, 5, 2)...)
	a := &audience{}
	r := start(t, log, Options{Sparse: true, Audience: a})
	r.bring(0)
	if list := a.take(); len(list) > 0 {
		t.Errorf("told of %d old effects", len(list))
	}
	log.Put(2, burst(5, 5, 2)...)
	r.caughtUp()
	eventually(t, "what is new is told", func() bool { return len(a.take()) > 0 })
}

// Partitions come and go under everything that may be asked of them at the same time.
func TestPartitionsGoUnderQuestions(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Traffic(smallTraffic(1), 3000)
	r := sparse(t, log, t.TempDir())
	r.bring(0)
	ctx, cancel := context.WithCancel(testContext(t))
	var group sync.WaitGroup
	harmless := func(what string, err error) {
		if err != nil && !errors.Is(err, ErrFoldingAgain) && !errors.Is(err, projections.ErrNotFound) && !errors.Is(err, ErrRebuilding) && !errors.Is(err, store.ErrClosed) && ctx.Err() == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, f := range map[string]func() error{
		"message": func() error { _, err := r.Message(app, "m0"); return err },
		"settings": func() error {
			r.Settings(app)
			r.Apps()
			r.Revisions()
			r.Levels()
			r.Poison()
			r.Stats()
			_ = r.Ready() // a copy that has just come may be behind
			return nil
		},
		"digest":  func() error { _, err := r.Digest(ctx, 1); return err },
		"durable": func() error { _, err := r.Durable(1); return err },
		"tree": func() error {
			tree, err := r.Tree(1, 0)
			if err != nil {
				return err
			}
			return tree.Release()
		},
		"scrub":   func() error { _, _, err := r.Scrub(ctx, func(int) error { return nil }); return err },
		"rebuild": func() error { _, err := r.Rebuild(ctx, RebuildOptions{Switch: true}); return err },
		"checksum": func() error {
			soon, done := context.WithTimeout(ctx, time.Millisecond)
			defer done()
			if _, err := r.ChecksumAt(soon, 1, r.Folded()[1]); !errors.Is(err, ErrPassed) && soon.Err() == nil {
				return err
			}
			return nil
		},
	} {
		group.Go(func() {
			for ctx.Err() == nil {
				harmless(what, f())
				time.Sleep(5 * time.Millisecond) // or nothing can leave: it is rebuilt all the time
			}
		})
	}
	for range 4 {
		r.bring(1)
		eventually(t, "it leaves", func() bool {
			err := r.DropCopy(1)
			harmless("drop", err)
			return err == nil
		})
	}
	cancel()
	group.Wait()
	r.bring(1)
	if got, want := r.digests(t), straight(t, log); !slices.Equal(got, want) {
		t.Errorf("it is %v, want %v", got, want)
	}
}
