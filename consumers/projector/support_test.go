package projector

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

const app = consumertest.App

// The names of the shared test log that most tests use.
var (
	testContext  = consumertest.Context
	openLog      = consumertest.Open
	reader       = consumertest.Reader
	message      = consumertest.Message
	sent         = consumertest.Sent
	readBy       = consumertest.ReadBy
	burst        = consumertest.Burst
	smallTraffic = consumertest.SmallTraffic
	checkCounts  = consumertest.CheckCounts
	eventually   = consumertest.Eventually
)

// testLog is a log on a server of its own, past which the test can do things.
type testLog = consumertest.Log

// must is for steps that are not what the test is about.
func must[T any](t testing.TB) func(v T, err error) T { return consumertest.Must[T](t) }

// running is a projector with its Run under way.
type running struct {
	*Projector
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done
}

func open(t testing.TB, log Log, o Options) *Projector {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Logger == nil {
		o.Logger = natstest.Logger(t)
	}
	return must[*Projector](t)(New(testContext(t), log, o))
}

// start opens a projector and runs it until stop, crash or the end of the test.
func start(t testing.TB, log Log, o Options) *running {
	t.Helper()
	r := &running{Projector: open(t, log, o), t: t, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() {
		r.wait()
		_ = r.Close() // stop has looked at the error
	})
	return r
}

// wait ends Run and returns its error.
func (r *running) wait() error {
	r.cancel()
	<-r.done
	return r.err
}

// stop ends the projector as a shutdown does.
func (r *running) stop() {
	r.t.Helper()
	if err := errors.Join(r.wait(), r.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// crash ends the projector without a last checkpoint, and what the store still has in memory is
// lost.
func (r *running) crash() {
	r.t.Helper()
	if err := r.wait(); err != nil {
		r.t.Fatal(err)
	}
	r.discard()
}

func (p *Projector) discard() {
	p.closeOnce.Do(func() {
		p.close()
		p.rebuilding.Lock()
		for _, w := range p.workers {
			w.mu.Lock()
			w.closed = true
			if w.gen != nil {
				p.closeErr = errors.Join(p.closeErr, w.gen.Store.Discard())
			}
			w.mu.Unlock()
		}
		p.blocks.Unref()
	})
}

// caughtUp waits until everything in the log is folded.
func (r *running) caughtUp() {
	r.t.Helper()
	ctx := testContext(r.t)
	for k := range r.log.Partitions() {
		_, last, err := r.log.Bounds(ctx, k)
		if err == nil {
			err = r.WaitFor(ctx, k, last)
		}
		if err != nil {
			r.t.Fatalf("partition %d: %v; Run: %v", k, err, r.failure())
		}
	}
}

// failure is the error that ended Run, if it has ended.
func (r *running) failure() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

// digests are those of each partition's state, now.
func (p *Projector) digests(t testing.TB) (list []string) {
	t.Helper()
	for _, w := range p.workers {
		snap, _, err := w.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		digest, _, err := snap.Digest(testContext(t))
		if err := errors.Join(err, snap.Close()); err != nil {
			t.Fatal(err)
		}
		list = append(list, digest)
	}
	return list
}

// straight folds a log into fresh state, without stopping, and returns the digests.
func straight(t testing.TB, log Log) []string {
	t.Helper()
	r := start(t, log, Options{})
	r.caughtUp()
	digests := r.digests(t)
	r.stop()
	return digests
}

// audience is told what happened to alice's messages.
type audience struct {
	mu      sync.Mutex
	effects []projections.Effect
}

func (a *audience) Online(_, user string) bool { return user == "alice" }

func (a *audience) Push(list []projections.Effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range list {
		a.effects = append(a.effects, projections.Effect{
			Kind: e.Kind, Message: string([]byte(e.Message)), Reader: string([]byte(e.Reader)),
			Partition: e.Partition, Sequence: e.Sequence, Count: e.Count,
		})
	}
}

// take returns what came since the last call.
func (a *audience) take() []projections.Effect {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.effects
	a.effects = nil
	return list
}

func writeFile(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
