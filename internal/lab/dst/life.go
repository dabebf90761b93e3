package dst

import (
	"context"
	"log/slog"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

// start begins a life. It reports whether the process runs.
func (w *world) start() bool {
	w.mu.Lock()
	w.report.Lives++
	w.crashed = false
	w.mu.Unlock()
	w.broker.frozen.Store(false)
	w.disk = &disk{FS: w.mem, mem: w.mem, step: w.step, died: w.died, fired: w.fired}
	w.disk.lies = w.Plant == "sync nothing"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	w.log, err = eventlog.Open(ctx, w.logConfig())
	if err != nil {
		w.log = nil
		if !w.isCrashed() {
			w.fail("the log does not open: %v", err)
		}
		return false
	}
	if w.armed() && !w.final {
		w.armDisk()
	}
	err = w.open(ctx)
	switch {
	case w.isCrashed():
		return false
	case err != nil && w.unreadable():
		w.tracef("the state does not open: its disk failed")
		return false
	case err != nil:
		w.fail("the state does not open: %v", err)
	}
	at, ok := w.position()
	if ok && at < w.durable && !w.flipped {
		w.fail("the state is at entry %d, and was durable at entry %d", at, w.durable)
	}
	w.attested = uint64(len(w.broker.entriesOf(0)))
	w.tracef("start: state at %d, log to %d", at, w.attested)
	w.run()
	w.settle()
	return !w.isCrashed()
}

func (w *world) logConfig() eventlog.Config {
	return eventlog.Config{
		URL: "nats://127.0.0.1:4222", Dialer: dialer{w.broker}, Partitions: 1, Logger: slog.New(slog.DiscardHandler),
	}
}

func (w *world) open(ctx context.Context) (err error) {
	w.hub = notify.New(w.partitions(), notify.Options{})
	w.fold, err = projector.New(ctx, w.log, projector.Options{
		Dir: "state", FS: w.disk, CacheBytes: 1 << 16, CheckpointEvery: time.Second, FlushEvery: 3 * time.Second,
		Audience: audience{w.hub, w}, Intake: w.log, StartOver: w.interval, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.fold = nil
	}
	return err
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.running, w.runErr = cancel, make(chan struct{}), nil
	fold, done := w.fold, w.running
	go func() {
		defer close(done)
		w.runErr = fold.Run(ctx)
	}()
}

// audience is the hub; a planted fault loses what is pushed.
type audience struct {
	*notify.Hub
	w *world
}

// Push implements [projector.Audience].
func (a audience) Push(effects []projections.Effect) {
	if a.w.Plant == "lose a push" {
		effects = effects[1:]
	}
	a.Hub.Push(effects)
}

// stop ends what runs of a life, whether it is dead already or is to end in good order.
func (w *world) stop(ctx context.Context) (err error) {
	for _, s := range w.sessions {
		s.sub.Close()
	}
	w.sessions = nil
	if w.cancel != nil {
		w.cancel()
		<-w.running
		w.cancel = nil
	}
	if w.fold != nil {
		err = w.fold.Close()
		w.fold = nil
	}
	if w.log != nil {
		_ = w.log.Close(ctx)
		w.log = nil
	}
	synctest.Wait()
	return err
}

// abandon ends a life whose end does not matter.
func (w *world) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.disk.heal()
	_ = w.stop(ctx)
	w.broker.die()
	synctest.Wait()
}
