package runtime

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

const (
	partitions = 3
	app        = "acme#chat"
)

// patience bounds what comes in a moment by itself; it is for a machine with much else to do.
const patience = time.Minute

// testContext bounds a test that waits for something that never comes.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func testConfig(t testing.TB) config.Config {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Log.Partitions = partitions
	cfg.Log.Fsync = config.FsyncInterval
	cfg.ShutdownTimeout = patience
	return cfg
}

// running is a server with its Run under way.
type running struct {
	*Server
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

func start(t testing.TB, cfg config.Config) *running {
	t.Helper()
	s, err := Build(testContext(t), cfg, natstest.Logger(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s)
	eventually(t, "the gate is open", s.gate.open.Load)
	return r
}

// run runs a server that was built.
func run(t testing.TB, s *Server) *running {
	t.Helper()
	r := &running{Server: s, t: t, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop shuts the server down.
func (r *running) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := errors.Join(<-r.done, r.Close(context.Background())); err != nil {
		r.t.Error(err)
	}
}

func (r *running) append(list ...events.Event) *eventlog.Ticket {
	r.t.Helper()
	ticket, err := r.Log.Append(testContext(r.t), list)
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket
}

// caughtUp waits until everything in the log is folded.
func (r *running) caughtUp() {
	r.t.Helper()
	for k := range partitions {
		r.await(k)
	}
}

// await waits until everything in a partition is folded.
func (r *running) await(partition int) {
	r.t.Helper()
	ctx := testContext(r.t)
	_, last, err := r.Log.Bounds(ctx, partition)
	if err == nil {
		err = r.Projector.WaitFor(ctx, partition, last)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// within is eventually for what is to take seconds, and returns how many. They are counted by looks
// with a pause between them: while the whole machine stands still, none pass.
func within(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	const pause = 50 * time.Millisecond
	for passed := time.Duration(0); passed < limit; passed += pause {
		if ok() {
			return passed
		}
		time.Sleep(pause)
	}
	t.Fatalf("not within %v: %s", limit, what)
	return 0
}

// limit is settings that can be told from others.
func limit(n int) events.Settings {
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	s.GroupReceipts.MaxGroupSize = n
	return s
}

func configured(revision uint64, s events.Settings) events.Event {
	return events.Event{Kind: events.AppConfigured, App: app, Settings: &s, Revision: revision}
}

// group is a group of alice and bob, with n messages that bob has read.
func group(id string, n int) []events.Event {
	list := []events.Event{{Kind: events.GroupCreated, App: app, Group: id, User: "alice", Members: []string{"bob"}}}
	for i := range n {
		m := id + "-" + string(rune('a'+i))
		list = append(list,
			events.Event{Kind: events.MessageSent, App: app, Group: id, User: "alice", Message: m, Receipt: true},
			events.Event{Kind: events.MessageRead, App: app, Group: id, User: "bob", Message: m})
	}
	return list
}
