package projector

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// slowLog has a replay of one partition wait until it is let go.
type slowLog struct {
	*testLog
	wait      atomic.Bool
	partition int
	goOn      chan struct{}
}

func (l *slowLog) Read(ctx context.Context, partition int, after uint64) (*eventlog.Reader, error) {
	if partition == l.partition && l.wait.Load() {
		select {
		case <-l.goOn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return l.testLog.Read(ctx, partition, after)
}

// readThrough reads the files of all partitions, as the scrub does, and returns what was found.
func (r *running) readThrough() (found []error) {
	r.t.Helper()
	for _, w := range r.workers {
		_ = w.use(func(g *fold.Generation) error {
			for _, path := range must[[]string](r.t)(g.Store.Files()) {
				if _, err := g.Store.CheckFile(testContext(r.t), path, nil); err != nil {
					found = append(found, err)
				}
			}
			return nil
		})
	}
	return found
}

func flipIn(t *testing.T, path string, at float64) {
	t.Helper()
	b := must[[]byte](t)(os.ReadFile(path))
	b[int(at*float64(len(b)))] ^= 1
	f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
	_, err := f.WriteAt(b, 0) // in place: what has the file open reads it
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A state that is found corrupt while the server runs is folded again, and meanwhile its partition
// says so while the other one answers. Nothing is told twice, no answer is wrong, the corrupt state
// is kept until the other one is complete, and a replay that was under way has ended.
func TestCorruptStateIsFoldedAgainWhileOthersAnswer(t *testing.T) {
	log := &slowLog{testLog: openLog(t, 2), goOn: make(chan struct{})}
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	r := start(t, log, Options{Dir: t.TempDir(), CacheBytes: 1})
	r.caughtUp()
	for k := range r.workers {
		must[uint64](t)(r.Durable(k))
	}
	want := r.digests(t)
	log.partition = -1
	for k, w := range r.workers {
		if _, err := w.gen.Part.Message(app, message(0)); err == nil {
			log.partition = k
		}
	}
	settings, revision, ok := r.Settings(app)
	if !ok || log.partition < 0 {
		t.Fatal("no app, or no message")
	}
	if found := r.readThrough(); len(found) > 0 {
		t.Fatalf("in a good state: %v", found)
	}
	log.wait.Store(true)
	bad := r.workers[log.partition]
	for _, table := range must[[]string](t)(filepath.Glob(filepath.Join(bad.gen.Dir(), "*.sst"))) {
		flipIn(t, table, 0.3)
	}
	if found := r.readThrough(); len(found) == 0 || !errors.Is(found[0], store.ErrCorrupt) {
		t.Fatalf("found: %v", found)
	}
	eventually(t, "the state is put aside", func() bool { return len(leftIn(t, bad.root)) == 1 })
	for range 3 {
		if m, err := r.Message(app, message(0)); !errors.Is(err, ErrFoldingAgain) {
			t.Errorf("answered: %+v, %v", m, err)
		}
		if _, err := r.Conversations(app, reader(0)); !errors.Is(err, ErrFoldingAgain) {
			t.Errorf("answered: %v", err)
		}
	}
	if err := r.workers[1-log.partition].ask(func(*projections.Partition) error { return nil }); err != nil {
		t.Errorf("the other partition: %v", err)
	}
	if s, rev, ok := r.Settings(app); !ok || rev != revision || !reflect.DeepEqual(s, settings) {
		t.Errorf("settings %v %v %v", s, rev, ok)
	}
	if err := r.Ready(); !errors.Is(err, ErrFoldingAgain) {
		t.Errorf("ready: %v", err)
	}
	if s := r.Stats()[log.partition]; !s.FoldingAgain || s.Corruptions != 1 {
		t.Errorf("stats %+v", s)
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{}); !errors.Is(err, ErrRebuilding) {
		t.Errorf("a rebuild meanwhile: %v", err)
	}
	close(log.goOn)
	eventually(t, "it is complete", func() bool { return r.Ready() == nil })
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	log.Put(5, burst(40, 50, 3)...)
	r.caughtUp()
	if _, err := r.Message(app, message(45)); err != nil {
		t.Error(err)
	}
	eventually(t, "what was put aside is removed", func() bool { return len(leftIn(t, bad.root)) == 0 })
	if res, err := r.Rebuild(testContext(t), RebuildOptions{}); err != nil || !res.Equal {
		t.Errorf("a rebuild: %+v, %v", res, err)
	}
	if r.failure() != nil {
		t.Errorf("Run ended: %v", r.failure())
	}
	r.stop()
}

// Whatever file of a state in use is damaged, and however: it is answered as it was or refused, the
// process goes on, and a start after it has the same state.
func TestDamagedFilesOfAStateInUse(t *testing.T) {
	log := openLog(t, 1)
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	random := rand.New(rand.NewPCG(5, 6))
	for range 12 {
		o := Options{Dir: t.TempDir(), CacheBytes: 1}
		r := start(t, log, o)
		r.caughtUp()
		must[uint64](t)(r.Durable(0))
		want := r.digests(t)
		before := must[projections.Message](t)(r.Message(app, message(1)))
		root := r.workers[0].root
		files := must[[]string](t)(filepath.Glob(filepath.Join(root, "0*", "*")))
		files = append(files, filepath.Join(root, fold.CurrentFile))
		for _, path := range files {
			if info, err := os.Stat(path); err == nil && info.Size() > 0 && random.IntN(2) == 0 {
				flipIn(t, path, random.Float64()*0.999)
			}
		}
		_ = r.readThrough()
		for range 5 {
			m, err := r.Message(app, message(1))
			if err == nil && m.Counts != before.Counts || err != nil && !errors.Is(err, ErrFoldingAgain) {
				t.Errorf("answered %+v, %v", m, err)
			}
		}
		eventually(t, "it is complete", func() bool { return r.Ready() == nil })
		if got := r.digests(t); !slices.Equal(got, want) {
			t.Errorf("digests %v, want %v", got, want)
		}
		if err := r.failure(); err != nil {
			t.Errorf("Run ended: %v", err)
		}
		_ = r.wait()
		_ = r.Close()
		r = start(t, log, o)
		r.caughtUp()
		if got := r.digests(t); !slices.Equal(got, want) {
			t.Errorf("after a start: digests %v, want %v", got, want)
		}
		r.stop()
	}
}

// A state that is refused answers nothing and is not folded again, while the other partitions go
// on; it can be dropped and brought back, and the next start folds it again.
func TestRefusedStateStaysAside(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	o := Options{Dir: t.TempDir(), CacheBytes: 1}
	r := start(t, log, o)
	r.caughtUp()
	want := r.digests(t)
	settings, revision, _ := r.Settings(app)
	why := errors.New("planted")
	refused := func() {
		t.Helper()
		if err := r.Refuse(0, why); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is put aside", func() bool { return errors.Is(r.Ready(), errRefused) })
		for range 3 {
			if err := r.Ready(); !errors.Is(err, ErrFoldingAgain) || !errors.Is(err, why) || r.Serves(0, 0) || !r.FoldingAgain(0) {
				t.Fatalf("it serves, or is not said to be refused: %v", err)
			}
			time.Sleep(50 * time.Millisecond) // in which it would be folded again
		}
	}
	refused()
	if s, known, ok := r.Settings(app); !ok || known != revision || !reflect.DeepEqual(s, settings) {
		t.Errorf("settings %v %v %v", s, known, ok)
	}
	if err := r.workers[1].ask(func(*projections.Partition) error { return nil }); err != nil {
		t.Errorf("the other partition: %v", err)
	}
	if _, err := r.Durable(1); err != nil {
		t.Errorf("the other partition is not made durable: %v", err)
	}
	if s := r.Stats()[0]; s.Corruptions != 1 {
		t.Errorf("it was put aside %d times", s.Corruptions)
	}
	if err := r.DropCopy(0); err != nil {
		t.Fatal(err)
	}
	r.bring(0)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("brought back: digests %v, want %v", got, want)
	}
	refused()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	_ = r.Close()
	r = start(t, log, o)
	r.caughtUp()
	eventually(t, "it is complete", func() bool { return r.Ready() == nil })
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("after a start: digests %v, want %v", got, want)
	}
	r.stop()
}
