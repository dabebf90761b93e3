package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

const app = "acme#chat"

// patience bounds a step that takes a moment by itself; it is for a machine with much else to do.
const patience = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testConfig(t testing.TB) Config {
	return Config{MaxMessages: 1000, MaxAge: time.Hour, MaxBytes: 64 << 20, Logger: natstest.Logger(t)}
}

// connection is a connection to a fresh embedded server, with a sync before each acknowledgement.
func connection(t testing.TB) *nats.Conn {
	t.Helper()
	log := natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1})
	nc, err := log.Connect(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func openInbox(t testing.TB, nc *nats.Conn, cfg Config) *Inbox {
	t.Helper()
	b, err := Open(testContext(t), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeInbox(t, b) })
	return b
}

func closeInbox(t testing.TB, b *Inbox) {
	t.Helper()
	if err := b.Close(testContext(t)); err != nil {
		t.Error(err)
	}
}

func (b *Inbox) append(t testing.TB, message string, users ...string) {
	t.Helper()
	b.appendFrom(t, "zoe", []byte(message), users...)
}

func (b *Inbox) appendFrom(t testing.TB, sender string, message []byte, users ...string) {
	t.Helper()
	o, err := b.Append(Message{App: app, Sender: sender, Conversation: "chat", Users: users, Data: message})
	if err == nil {
		err = o.Wait(testContext(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// state is that of the app's stream.
func (b *Inbox) state(t testing.TB) jetstream.StreamState {
	t.Helper()
	o, err := b.app(app)
	if err == nil {
		err = o.await(testContext(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := o.stream.Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return info.State
}

func (b *Inbox) mailbox(t testing.TB, user, device string) *Mailbox {
	t.Helper()
	m, err := b.Open(testContext(t), app, user, device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// take returns what is in a mailbox once n items are there, in parts of at most limit. It gives up
// when none has come for long.
func (m *Mailbox) take(t testing.TB, n, limit int) (texts []string, last uint64) {
	t.Helper()
	for end := time.Now().Add(patience); len(texts) < n && time.Now().Before(end); {
		items, _, err := m.Next(testContext(t), limit, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if item.Sequence <= last {
				t.Fatalf("item %d after item %d", item.Sequence, last)
			}
			texts, last = append(texts, string(item.Data)), item.Sequence
		}
		if len(items) == 0 {
			time.Sleep(2 * time.Millisecond)
		} else {
			end = time.Now().Add(patience)
		}
	}
	return texts, last
}

func (m *Mailbox) wants(t testing.TB, want ...string) (last uint64) {
	t.Helper()
	got, last := m.take(t, len(want), 7)
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	m.isEmpty(t)
	return last
}

func (m *Mailbox) isEmpty(t testing.TB) {
	t.Helper()
	m.Refresh()
	if items, more, err := m.Next(testContext(t), 10, 1<<20); len(items) > 0 || more > 0 || err != nil {
		t.Fatalf("%d items and %d more, %v; want none", len(items), more, err)
	}
}

func numbers(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

// TestEveryItemComesOnceInOrder, while a mailbox changes between reading the stream and being
// offered its end.
func TestEveryItemComesOnceInOrder(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	for _, s := range numbers(0, 30) {
		b.append(t, s, "ann", "ben")
	}
	m := b.mailbox(t, "ann", "web")
	const n = 600
	var writing sync.WaitGroup
	writing.Go(func() {
		for _, s := range numbers(30, n) {
			b.append(t, s, "ann", "ben")
		}
	})
	got, _ := m.take(t, n, 5)
	writing.Wait()
	if !slices.Equal(got, numbers(0, n)) {
		t.Fatalf("%d items, or out of order", len(got))
	}
	m.isEmpty(t)
	// A device that takes nothing meanwhile falls behind, and misses nothing.
	late := b.mailbox(t, "ben", "web")
	if _, _, err := late.Next(testContext(t), 1, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got, _ := late.take(t, n-1, 50); !slices.Equal(got, numbers(1, n)) {
		t.Fatalf("%d items, or out of order", len(got))
	}
}

func TestMailboxFallsBehindAndCatchesUp(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	m := b.mailbox(t, "ann", "web")
	m.isEmpty(t)
	for _, s := range numbers(0, 3*maxLive) {
		b.append(t, s, "ann")
	}
	// The follower comes a little after the appends, and nobody takes anything meanwhile.
	for end := time.Now().Add(patience); testutil.ToFloat64(b.metrics.missed) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("falling behind was not counted")
		}
	}
	m.mu.Lock()
	if len(m.live) > maxLive {
		t.Errorf("%d items wait in memory", len(m.live))
	}
	m.mu.Unlock()
	m.wants(t, numbers(0, 3*maxLive)...)
}

func TestPositionsAreKept(t *testing.T) {
	nc := connection(t)
	b := openInbox(t, nc, testConfig(t))
	for _, s := range numbers(0, 5) {
		b.append(t, s, "ann")
	}
	web := b.mailbox(t, "ann", "web")
	web.wants(t, numbers(0, 5)...)
	web.Close()
	web = b.mailbox(t, "ann", "web")
	at := web.wants(t, numbers(0, 5)...) // nothing was acknowledged
	web.Acknowledge(at - 2)
	web.Acknowledge(at - 3) // never backward
	web.Acknowledge(at + 9) // nor beyond what was handed out
	web.Close()
	closeInbox(t, b)

	b = openInbox(t, nc, testConfig(t))
	b.mailbox(t, "ann", "web").wants(t, "3", "4")
	phone := b.mailbox(t, "ann", "phone") // never seen: starts where the user is
	phone.Acknowledge(phone.wants(t, "3", "4"))
	b.mailbox(t, "ann", "tablet").wants(t)
	b.mailbox(t, "ann", "web").wants(t, "3", "4") // a device has its own position
}

func TestDevicesAreBounded(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	b.append(t, "x", "ann")
	for i := range maxDevices + 5 {
		m := b.mailbox(t, "ann", fmt.Sprint("device", i))
		if i == 0 {
			m.Acknowledge(m.wants(t, "x"))
		}
		b.ledger.acknowledge(m.key, m.device, 1, 1)
	}
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	if n := len(b.ledger.users[userKey(app, "ann")].devices); n != maxDevices {
		t.Errorf("%d devices have a position", n)
	}
}

// TestAGroupMessageIsStoredTogether: one batch, with one sync, however many the recipients.
func TestAGroupMessageIsStoredTogether(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	users := make([]string, 200)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
	}
	b.append(t, "hello", users...)
	if n := testutil.ToFloat64(b.metrics.batches); n != 1 {
		t.Errorf("%v batches for one message", n)
	}
	for _, user := range []string{"user0", "user199"} {
		b.mailbox(t, user, "web").wants(t, "hello")
	}
	big := make([]string, 2*maxBatch+1)
	for i := range big {
		big[i] = fmt.Sprint("user", i)
	}
	b.append(t, "all", big...)
	b.mailbox(t, big[len(big)-1], "web").wants(t, "all")
}

func toAnn(data []byte) Message {
	return Message{App: app, Sender: "zoe", Conversation: "chat", Users: []string{"ann"}, Data: data}
}

func TestLimitsOfInboxes(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxMessages = 10
	full := errors.New("disk full")
	var room error
	cfg.Room = func(int64) error { return room }
	b := openInbox(t, connection(t), cfg)
	for _, s := range numbers(0, 25) {
		b.append(t, s, "ann")
	}
	b.append(t, "other", "ben")
	b.mailbox(t, "ann", "web").wants(t, numbers(15, 25)...) // the oldest gave way
	b.mailbox(t, "ben", "web").wants(t, "other")

	if _, err := b.Append(toAnn(make([]byte, maxMessageBytes+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large message: %v", err)
	}
	room = full
	if _, err := b.Append(toAnn([]byte("x"))); !errors.Is(err, full) {
		t.Errorf("without room on the disk: %v", err)
	}
	room = nil
	var last error
	for range 20 * maxQueuedOfSender / maxMessageBytes { // some are written meanwhile
		if _, last = b.Append(toAnn(make([]byte, maxMessageBytes))); last != nil {
			break
		}
	}
	if !errors.Is(last, ErrOverloaded) {
		t.Errorf("with more queued than is allowed: %v", last)
	}
	closeInbox(t, b)
	if _, err := b.Append(toAnn([]byte("x"))); !errors.Is(err, errClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAcknowledgedMessagesAreRemoved(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	m := b.mailbox(t, "ann", "web")
	for _, s := range numbers(0, purgeAfter+20) {
		b.append(t, s, "ann")
		if got, at := m.take(t, 1, 1); got[0] == s {
			m.Acknowledge(at)
		}
	}
	if err := b.ledger.changed.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := b.state(t).Msgs; n > purgeAfter {
		t.Errorf("%d messages are left", n)
	}
}

func TestStreamsOfAnotherConfigurationAreRefused(t *testing.T) {
	nc := connection(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	wrong := cfg.positionStream()
	wrong.AllowAtomicPublish = false
	if _, err := js.CreateStream(testContext(t), wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), nc, cfg); !errors.Is(err, ErrStreamConfig) {
		t.Errorf("opened with %v", err)
	}
	if err := js.DeleteStream(testContext(t), positionStream); err != nil {
		t.Fatal(err)
	}
	b := openInbox(t, nc, cfg)
	b.append(t, "x", "ann")
	closeInbox(t, b)
	// The limits are settings: they follow.
	cfg.MaxMessages = 7
	b = openInbox(t, nc, cfg)
	b.mailbox(t, "ann", "web").wants(t, "x")
	if got := b.apps[app].stream.CachedInfo().Config.MaxMsgsPerSubject; got != 7 {
		t.Errorf("max_msgs_per_subject is %d", got)
	}
}

// TestInterruptedConnections: what was stored comes, through an outside server whose connections
// break.
func TestInterruptedConnections(t *testing.T) {
	server := natstest.StartServer(t)
	proxy := natstest.StartProxy(t, server.Addr())
	log := natstest.OpenLog(t, eventlog.Config{URL: proxy.URL(), Partitions: 1})
	nc, err := log.Connect(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	b := openInbox(t, nc, testConfig(t))
	m := b.mailbox(t, "ann", "web")
	var stored []string
	for i := range 60 {
		if i%20 == 10 {
			proxy.Cut()
		}
		s := fmt.Sprint(i)
		o, err := b.Append(toAnn([]byte(s)))
		if err == nil {
			err = o.Wait(testContext(t))
		}
		if err == nil {
			stored = append(stored, s)
		}
	}
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		items, _, err := m.Next(testContext(t), 10, 1<<20)
		if err != nil {
			continue // the connection is on its way back
		}
		for _, item := range items {
			if !slices.Contains(got, string(item.Data)) { // a try whose answer was lost is repeated
				got = append(got, string(item.Data))
			}
		}
		if !slices.ContainsFunc(stored, func(s string) bool { return !slices.Contains(got, s) }) {
			return
		}
	}
	t.Errorf("stored %q, got %q", stored, got)
}
