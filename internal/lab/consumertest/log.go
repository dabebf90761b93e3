package consumertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

// App is the app of the events made here.
const App = "acme#chat"

// Context bounds a test that waits for something that never comes.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Must is for steps that are not what the test is about.
func Must[T any](t testing.TB) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Log is a log on a server of its own, past which the test can do things.
type Log struct {
	*eventlog.Log
	T     testing.TB
	js    jetstream.JetStream
	alone eventlog.Config // of OpenAlone
}

// Open starts a server and opens a log on it.
func Open(t testing.TB, partitions int) *Log {
	t.Helper()
	server := natstest.StartServer(t)
	return &Log{
		Log: natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Partitions: partitions}),
		T:   t, js: server.JetStream(),
	}
}

// OpenAlone opens a log that no other program has, in a directory of its own: it can be
// repartitioned.
func OpenAlone(t testing.TB, partitions int) *Log {
	t.Helper()
	l := &Log{T: t, alone: eventlog.Config{
		Dir: filepath.Join(t.TempDir(), "log"), Partitions: partitions, Fsync: eventlog.FsyncInterval, Logger: natstest.Logger(t),
	}}
	l.open()
	return l
}

func (l *Log) open() {
	l.T.Helper()
	l.Log = natstest.OpenLog(l.T, l.alone)
	conn := Must[*nats.Conn](l.T)(l.Connect(Context(l.T), "consumertest"))
	l.js = Must[jetstream.JetStream](l.T)(jetstream.New(conn))
}

// Repartition doubles the number of partitions of a log that OpenAlone opened, and opens it again,
// as a start of the server does: what follows the log has to be begun anew.
func (l *Log) Repartition() {
	l.T.Helper()
	natstest.CloseLog(l.T, l.Log)
	l.alone.Partitions = 0 // as many as there are
	Must[eventlog.Repartitioned](l.T)(eventlog.Repartition(Context(l.T), l.alone, 2*l.Partitions()))
	l.open()
}

// Put stores events in entries of at most n.
func (l *Log) Put(n int, list ...events.Event) {
	l.T.Helper()
	ctx := Context(l.T)
	for len(list) > 0 {
		n = min(n, len(list))
		if _, err := l.Append(ctx, list[:n]); err != nil {
			l.T.Fatal(err)
		}
		list = list[n:]
	}
}

// PutTo stores an event in one partition.
func (l *Log) PutTo(partition int, e events.Event) {
	l.T.Helper()
	ctx := Context(l.T)
	if err := Must[*eventlog.Ticket](l.T)(l.SubmitTo(ctx, partition, []events.Event{e})).Wait(ctx); err != nil {
		l.T.Fatal(err)
	}
}

// Configure gives an app settings in every partition.
func (l *Log) Configure(app string, s events.Settings, revision uint64) {
	l.T.Helper()
	for k := range l.Partitions() {
		l.PutTo(k, events.Event{Kind: events.AppConfigured, App: app, Settings: &s, Revision: revision})
	}
}

// PublishRaw stores what no publisher of ours would.
func (l *Log) PublishRaw(subject string, data []byte) (sequence uint64) {
	l.T.Helper()
	return Must[*jetstream.PubAck](l.T)(l.js.Publish(Context(l.T), subject, data)).Sequence
}

// Purge removes the entries of a partition before one.
func (l *Log) Purge(partition int, before uint64) {
	l.T.Helper()
	ctx := Context(l.T)
	stream := Must[jetstream.Stream](l.T)(l.js.Stream(ctx, fmt.Sprintf("RECEIPTS_%d", partition)))
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(before)); err != nil {
		l.T.Fatal(err)
	}
}

// Last is the last entry of a partition.
func (l *Log) Last(partition int) uint64 {
	l.T.Helper()
	_, last, err := l.Bounds(Context(l.T), partition)
	if err != nil {
		l.T.Fatal(err)
	}
	return last
}

// Group has an app with group receipts and a group of alice and some readers in the log.
func (l *Log) Group(readers int) {
	l.T.Helper()
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	l.Configure(App, s, 1)
	e := events.Event{Kind: events.GroupCreated, App: App, Group: "g", User: "alice"}
	for i := range readers {
		e.Members = append(e.Members, Reader(i))
	}
	l.Put(1, e)
}

// Reader is the name of a reader of the group.
func Reader(i int) string { return fmt.Sprintf("reader%d", i) }

// Message is the id of a message.
func Message(i int) string { return fmt.Sprintf("m%d", i) }

// Sent is alice's message in the group.
func Sent(i int) events.Event {
	return events.Event{Kind: events.MessageSent, App: App, Group: "g", User: "alice", Message: Message(i), Receipt: true}
}

// ReadBy is a reader's read of a message.
func ReadBy(i, who int) events.Event {
	return events.Event{Kind: events.MessageRead, App: App, Group: "g", User: Reader(who), Message: Message(i)}
}

// Burst is messages from first on, each with its reads.
func Burst(first, n, readers int) (list []events.Event) {
	for i := first; i < first+n; i++ {
		list = append(list, Sent(i))
		for r := range readers {
			list = append(list, ReadBy(i, r))
		}
	}
	return list
}

// Traffic puts simulated traffic of about n events into a log, in entries of mixed sizes.
func (l *Log) Traffic(config sim.Config, n int) *sim.Generator {
	l.T.Helper()
	plan := Must[*sim.Traffic](l.T)(sim.New(config))
	for _, app := range plan.Apps() {
		l.Configure(app, plan.Settings(), 1)
	}
	l.Put(1000, plan.Setup()...)
	g := Must[[]*sim.Generator](l.T)(plan.Generators(1))[0]
	random := rand.New(rand.NewPCG(config.Seed, 9))
	ctx := Context(l.T)
	var tickets []*eventlog.Ticket
	for left := n; left > 0; {
		k := min(left, 1+random.IntN(400))
		tickets = append(tickets, Must[*eventlog.Ticket](l.T)(l.Submit(ctx, g.Next(nil, k))))
		left -= k
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(ctx); err != nil {
			l.T.Fatal(err)
		}
	}
	return g
}

// CheckCounts compares the counts of every message with those the generator knows.
func CheckCounts(t testing.TB, p State, g *sim.Generator) {
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
		counts := Must[map[string]projections.Counts](t)(p.Counts(app, ids))
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

// State is what the tests ask of a projector.
type State interface {
	MessageIn(c events.Conversation, id, user string) (projections.Found, error)
	Counts(app string, ids []string) (map[string]projections.Counts, error)
	Revisions() map[string][]uint64
	ReadRates(ctx context.Context, q projections.RateQuery) (projections.RatePage, error)
}

// SmallTraffic has many conversations for few events.
func SmallTraffic(seed uint64) sim.Config {
	c := sim.DefaultConfig()
	c.Seed, c.Groups, c.Members, c.Churn, c.SingleChats = seed, 40, 8, 0.3, 0.3
	return c
}

// Eventually waits until a condition holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}
