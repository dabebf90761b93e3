package projector

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Ready is for load balancers: it is nil only once everything that was acknowledged before the
// start is folded.
func TestReadyWhenTheLogIsFolded(t *testing.T) {
	log := openLog(t, 2)
	log.Group(2)
	log.Put(1, burst(0, 5, 2)...)
	o := Options{Dir: t.TempDir()}
	p := open(t, log, o)
	if err := p.Ready(); err == nil {
		t.Error("ready before anything is folded")
	}
	p.discard()
	r := start(t, log, o)
	r.caughtUp()
	if err := r.Ready(); err != nil {
		t.Error(err)
	}
	r.stop()
	p = open(t, log, o)
	if err := p.Ready(); err != nil {
		t.Errorf("opened with all of the log: %v", err)
	}
	p.discard()
}

// A state that the log does not agree with is refused, and stays as it is: it may be the only copy
// of what the log lost.
func TestStateAheadOfItsLogIsRefused(t *testing.T) {
	log, other := openLog(t, 1), openLog(t, 1)
	log.Group(2)
	log.Put(1, burst(0, 5, 2)...)
	o := Options{Dir: t.TempDir(), Logger: natstest.Logger(t)}
	r := start(t, log, o)
	r.caughtUp()
	want := r.digests(t)
	r.stop()
	if p, err := New(testContext(t), other, o); !errors.Is(err, ErrAheadOfLog) {
		t.Errorf("opened %v, %v", p, err)
	}
	r = start(t, log, o)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
}

// Whatever a projector did, nothing of it is left when it is closed, and to close it again does
// nothing.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	log := openLog(t, 2)
	log.Group(2)
	log.Put(2, burst(0, 20, 2)...)
	o := Options{Dir: t.TempDir()}
	cycle := func() {
		r := start(t, log, o)
		r.caughtUp()
		if _, err := r.Rebuild(testContext(t), RebuildOptions{Switch: true}); err != nil {
			t.Error(err)
		}
		r.stop()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	cycle() // what is made once and kept
	before := runtime.NumGoroutine()
	for range 5 {
		cycle()
	}
	now := 0
	for range 3000 {
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
}

// Questions that are asked while the projector closes get an answer or ErrStopped.
func TestQuestionsDuringCloseAreAnswered(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(5, burst(0, 10, 3)...)
	r := start(t, log, Options{CacheBytes: 1})
	r.caughtUp()
	var asking sync.WaitGroup
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	for range 3 {
		asking.Go(func() {
			for {
				m, err := r.Message(app, message(3))
				if errors.Is(err, ErrStopped) {
					return
				}
				if err != nil || m.Read != 3 {
					t.Errorf("%+v, %v", m, err)
					return
				}
				once()
			}
		})
	}
	<-asked
	r.stop()
	asking.Wait()
}
