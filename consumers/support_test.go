package consumers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

const app = "acme#chat"

// testContext bounds a test that waits for something that never comes.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// must is for steps that are not what the test is about.
func must[T any](t testing.TB) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// testLog is a log on a server of its own, past which the test can do things.
type testLog struct {
	*eventlog.Log
	t  testing.TB
	js jetstream.JetStream
}

func openLog(t testing.TB, partitions int) *testLog {
	t.Helper()
	server := natstest.StartServer(t)
	return &testLog{
		Log: natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Partitions: partitions}),
		t:   t, js: server.JetStream(),
	}
}

// append stores events in entries of at most n.
func (l *testLog) append(n int, list ...events.Event) {
	l.t.Helper()
	ctx := testContext(l.t)
	for len(list) > 0 {
		n = min(n, len(list))
		if _, err := l.Append(ctx, list[:n]); err != nil {
			l.t.Fatal(err)
		}
		list = list[n:]
	}
}

// appendTo stores an event in one partition.
func (l *testLog) appendTo(partition int, e events.Event) {
	l.t.Helper()
	ctx := testContext(l.t)
	if err := must[*eventlog.Ticket](l.t)(l.SubmitTo(ctx, partition, []events.Event{e})).Wait(ctx); err != nil {
		l.t.Fatal(err)
	}
}

// configure gives an app settings in every partition.
func (l *testLog) configure(app string, s events.Settings, revision uint64) {
	l.t.Helper()
	for k := range l.Partitions() {
		l.appendTo(k, events.Event{Kind: events.AppConfigured, App: app, Settings: &s, Revision: revision})
	}
}

// publish stores what no publisher of ours would.
func (l *testLog) publish(subject string, data []byte) (sequence uint64) {
	l.t.Helper()
	return must[*jetstream.PubAck](l.t)(l.js.Publish(testContext(l.t), subject, data)).Sequence
}

// purge removes the entries of a partition before one.
func (l *testLog) purge(partition int, before uint64) {
	l.t.Helper()
	ctx := testContext(l.t)
	stream := must[jetstream.Stream](l.t)(l.js.Stream(ctx, fmt.Sprintf("RECEIPTS_%d", partition)))
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(before)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *testLog) last(partition int) uint64 {
	l.t.Helper()
	_, last, err := l.Bounds(testContext(l.t), partition)
	if err != nil {
		l.t.Fatal(err)
	}
	return last
}

// group has an app with group receipts and a group of alice and some readers in the log.
func (l *testLog) group(readers int) {
	l.t.Helper()
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	l.configure(app, s, 1)
	e := events.Event{Kind: events.GroupCreated, App: app, Group: "g", User: "alice"}
	for i := range readers {
		e.Members = append(e.Members, reader(i))
	}
	l.append(1, e)
}

func reader(i int) string { return fmt.Sprintf("reader%d", i) }

func message(i int) string { return fmt.Sprintf("m%d", i) }

func sent(i int) events.Event {
	return events.Event{Kind: events.MessageSent, App: app, Group: "g", User: "alice", Message: message(i), Receipt: true}
}

func readBy(i, who int) events.Event {
	return events.Event{Kind: events.MessageRead, App: app, Group: "g", User: reader(who), Message: message(i)}
}

// burst is messages from first on, each with its reads.
func burst(first, n, readers int) (list []events.Event) {
	for i := first; i < first+n; i++ {
		list = append(list, sent(i))
		for r := range readers {
			list = append(list, readBy(i, r))
		}
	}
	return list
}

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
	return must[*Projector](t)(NewProjector(testContext(t), log, o))
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

// crash ends the projector without a last checkpoint, and what the store still has in memory is lost.
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
			w.using.Lock()
			w.closed = true
			p.closeErr = errors.Join(p.closeErr, w.gen.store.Discard())
			w.using.Unlock()
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

// traffic puts simulated traffic of about n events into a log, in entries of mixed sizes.
func (l *testLog) traffic(config sim.Config, n int) *sim.Generator {
	l.t.Helper()
	plan := must[*sim.Traffic](l.t)(sim.New(config))
	for _, app := range plan.Apps() {
		l.configure(app, plan.Settings(), 1)
	}
	l.append(1000, plan.Setup()...)
	g := must[[]*sim.Generator](l.t)(plan.Generators(1))[0]
	random := rand.New(rand.NewPCG(config.Seed, 9))
	ctx := testContext(l.t)
	var tickets []*eventlog.Ticket
	for left := n; left > 0; {
		k := min(left, 1+random.IntN(400))
		tickets = append(tickets, must[*eventlog.Ticket](l.t)(l.Submit(ctx, g.Next(nil, k))))
		left -= k
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(ctx); err != nil {
			l.t.Fatal(err)
		}
	}
	return g
}

// checkCounts compares the counts of every message with those the generator knows.
func checkCounts(t testing.TB, p *Projector, g *sim.Generator) {
	t.Helper()
	want := map[string]map[string]int{} // by app and message
	g.Expected(func(app, _, message string, readers int) {
		if want[app] == nil {
			want[app] = map[string]int{}
		}
		want[app][message] = readers
	})
	for app, messages := range want {
		var ids []string
		for id := range messages {
			ids = append(ids, id)
		}
		counts := must[map[string]projections.Counts](t)(p.Counts(app, ids))
		wrong := 0
		for id, n := range messages {
			if c, known := counts[id]; !known || c.Read != n {
				if wrong++; wrong < 5 {
					t.Errorf("%s, message %s: %+v, known %v; want %d readers", app, id, c, known, n)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d messages are wrong", app, wrong, len(messages))
		}
	}
}

// audience is told what happened to alice's messages.
type audience struct {
	mu      sync.Mutex
	effects []projections.Effect
}

func (a *audience) Online(_, user string) bool { return user == "alice" }

func (a *audience) Deliver(list []projections.Effect) {
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
