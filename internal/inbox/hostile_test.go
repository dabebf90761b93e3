package inbox

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// invented are names of users who never were.
func invented(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("invented", i)
	}
	return names
}

// One user's group of invented members costs a bounded amount, and takes nothing from others, of
// other apps or of the same.
func TestLargeGroupsCostLittleAndPushNobodyOut(t *testing.T) {
	cfg := testConfig(t)
	b := openInbox(t, connection(t), cfg)
	quiet := Message{App: "quiet#app", Sender: "ben", Users: []string{"ann"}, Data: []byte("for ann")}
	o, err := b.Append(quiet)
	if err == nil {
		err = o.Wait(testContext(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.append(t, "of a neighbour", "dan")
	const messages, members, size = 5, 4990, 64 << 10
	for range messages {
		b.appendFrom(t, "mallory", make([]byte, size), invented(members)...)
	}
	if got, most := b.state(t).Bytes, uint64(messages*(size+members*overhead)); got > most {
		t.Errorf("%d messages of %d bytes to %d members take %d bytes, want at most %d", messages, size, members, got, most)
	}
	m, err := b.Open(testContext(t), "quiet#app", "ann", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	m.wants(t, "for ann")
	b.mailbox(t, "dan", "web").wants(t, "of a neighbour")
}

// However much one sender stores, what others of the same app have sent stays.
func TestTheLargestSenderMakesRoom(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBytes = 4 << 20
	b := openInbox(t, connection(t), cfg)
	b.append(t, "important", "ann")
	b.appendFrom(t, "ben", bytes.Repeat([]byte("b"), 8<<10), "ann", "dan") // with a body
	for i := range 4 * cfg.MaxBytes / (64 << 10) {
		b.appendFrom(t, "mallory", make([]byte, 64<<10), "x", "y", fmt.Sprint("z", i))
	}
	if n := b.state(t).Bytes; n > uint64(cfg.MaxBytes) || n < uint64(cfg.MaxBytes)/4 {
		t.Errorf("%d bytes are kept", n)
	}
	m := b.mailbox(t, "ann", "web")
	m.wants(t, "important", string(bytes.Repeat([]byte("b"), 8<<10)))
	if got, _ := b.mailbox(t, "x", "web").take(t, 1, 10); len(got) == 0 {
		t.Error("nothing is left of the sender who made room")
	}
}

// In an inbox every sender has a share of their own.
func TestStrangersDoNotPushMessagesOut(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxMessages = 20
	b := openInbox(t, connection(t), cfg)
	b.append(t, "important", "ann")
	for i := range 2 * cfg.MaxMessages {
		b.appendFrom(t, "stranger", fmt.Append(nil, i), "ann")
	}
	b.mailbox(t, "ann", "web").wants(t, append([]string{"important"}, numbers(cfg.MaxMessages, 2*cfg.MaxMessages)...)...)
}

// Senders take turns, and none of them has more than a share of the queue.
func TestSendersTakeTurns(t *testing.T) {
	var q queue
	q.init()
	put := func(sender string, cost int) error {
		return q.put(&queuedMessage{Message: Message{Sender: sender, Users: []string{"u"}}, cost: cost})
	}
	for i := range 100 {
		if err := put("mallory", maxBatchBytes/100); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := put("mallory", 1<<20); !errors.Is(err, ErrOverloaded) {
		t.Errorf("beyond the share of a sender: %v", err)
	}
	if err := put("ann", 1); err != nil {
		t.Errorf("of another sender: %v", err)
	}
	if err := put("ben", maxQueuedOfApp+1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("larger than all that may wait: %v", err)
	}
	if list := q.take(); len(list) < 2 || list[1].Sender != "ann" {
		t.Errorf("ann is not the second of %d to be stored", len(list))
	}
}

// forget has bodies be read from the stream again.
func (c *bodies) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data, c.order, c.bytes = nil, nil, 0
}

// A message that takes more than its part of what its app may keep is refused.
func TestMessagesBeyondTheBudgetAreRefused(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBytes = 1 << 20
	b := openInbox(t, connection(t), cfg)
	_, err := b.Append(Message{App: app, Sender: "mallory", Users: invented(4990), Data: make([]byte, 1000)})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message to 4990 users: %v", err)
	}
}

// What an older version stored is handed out, in order with what came later, and the positions of
// devices hold.
func TestInboxesOfAnOlderVersion(t *testing.T) {
	logConfig := eventlog.Config{Dir: t.TempDir(), WitnessDir: t.TempDir(), Partitions: 1}
	log := natstest.OpenLog(t, logConfig)
	nc, err := log.Connect(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{
		Name: streamBefore, Subjects: []string{prefixBefore + "*.*"}, Storage: jetstream.FileStorage, MaxMsgsPerSubject: 1000,
		MaxAge: time.Hour, MaxBytes: 64 << 20, AllowAtomicPublish: true, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range numbers(0, 10) {
		for _, user := range []string{"ann", "ben"} {
			if _, err := js.PublishMsg(testContext(t), &nats.Msg{Subject: prefixBefore + userKey(app, user), Data: []byte(s)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := testConfig(t)
	b := openInbox(t, nc, cfg)
	m := b.mailbox(t, "ann", "web")
	items, _, err := m.Next(testContext(t), 4, 1<<20)
	if err != nil || len(items) != 4 || string(items[3].Data) != "3" {
		t.Fatalf("%d items, %v", len(items), err)
	}
	m.Acknowledge(items[3].Sequence)
	for _, s := range numbers(10, 20) {
		b.append(t, s, "ann", "ben")
	}
	m.Close()
	closeInbox(t, b)

	b = openInbox(t, nc, cfg)
	last := b.mailbox(t, "ann", "web").wants(t, numbers(4, 20)...)
	ben := b.mailbox(t, "ben", "web")
	if at := ben.wants(t, numbers(0, 20)...); at <= items[3].Sequence || last <= items[3].Sequence {
		t.Errorf("the last sequences are %d and %d", at, last)
	} else {
		ben.Acknowledge(at)
	}
	ben.Close()
	closeInbox(t, b)
	_ = b.Close(testContext(t))

	// A stream that begins with another sequence than 1 is no damage.
	if _, err := openEmpty(t, nc, cfg); err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, log)
	found, err := eventlog.Inspect(testContext(t), logConfig.Dir, logConfig.WitnessDir, 0, nil)
	if err != nil || len(found.Findings) > 0 {
		t.Fatalf("the doctor: %v, %v", found.Findings, err)
	}
	log = natstest.OpenLog(t, logConfig)
	if nc, err = log.Connect(testContext(t), "test"); err != nil {
		t.Fatal(err)
	}
	b = openInbox(t, nc, cfg)
	b.mailbox(t, "ben", "web").wants(t)
	b.append(t, "new", "ben")
	b.mailbox(t, "ben", "web").wants(t, "new")
}

// openEmpty opens the inboxes of an app that never had a message.
func openEmpty(t *testing.T, nc *nats.Conn, cfg Config) (*Mailbox, error) {
	b := openInbox(t, nc, cfg)
	m, err := b.Open(testContext(t), "empty#app", "ann", "web")
	if err == nil {
		m.Close()
	}
	closeInbox(t, b)
	return m, err
}

// A device whose position is beyond its stream's end, as after a restore, misses nothing
// that comes.
func TestPositionsBeyondTheStreamSkipNothing(t *testing.T) {
	nc := connection(t)
	b := openInbox(t, nc, testConfig(t))
	b.append(t, "before", "ann")
	m := b.mailbox(t, "ann", "web")
	m.wants(t, "before")
	b.ledger.acknowledge(m.key, m.device, 1000, 1)
	m.Close()
	closeInbox(t, b)
	b = openInbox(t, nc, testConfig(t))
	m = b.mailbox(t, "ann", "web")
	b.append(t, "after", "ann")
	m.wants(t, "after")
}

// A large message to a group reaches devices that are connected and those that come later, and one
// whose body had to make room is passed over.
func TestReferencesAreResolved(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	live := b.mailbox(t, "ann", "web")
	live.isEmpty(t)
	large := string(bytes.Repeat([]byte("x"), maxCopies))
	b.append(t, large, "ann", "ben")
	b.append(t, "after", "ann", "ben")
	live.wants(t, large, "after")
	b.bodies.forget() // as after a restart
	b.mailbox(t, "ben", "web").wants(t, large, "after")

	o := b.apps[app]
	b.bodies.forget()
	if err := o.stream.Purge(testContext(t), jetstream.WithPurgeSubject(o.bodies+">")); err != nil {
		t.Fatal(err)
	}
	b.mailbox(t, "ben", "phone").wants(t, "after")
}
