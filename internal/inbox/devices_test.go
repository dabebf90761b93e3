package inbox

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// sharedInboxes are the same inboxes as two processes have them open, on three NATS servers.
func sharedInboxes(t *testing.T) (a, b *Inbox) {
	t.Helper()
	servers := natstest.StartCluster(t, 3)
	cfg := testConfig(t)
	cfg.Replicas, cfg.Shared = 3, true
	open := func(node string) *Inbox {
		log := natstest.OpenLog(t, eventlog.Config{URL: natstest.ClusterURL(servers), Partitions: 1, Replicas: 3, Node: node})
		nc, err := log.Connect(testContext(t), "test")
		if err != nil {
			t.Fatal(err)
		}
		return openInbox(t, nc, cfg)
	}
	return open("a"), open("b")
}

// take reads what a device has not taken, and acknowledges the first n of it.
func (b *Inbox) take(t *testing.T, user, device string, n int) (all []string) {
	t.Helper()
	m, err := b.Open(testContext(t), app, user, device)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	items, _, err := m.Next(testContext(t), 1000, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range items {
		all = append(all, string(item.Data))
		if i < n {
			m.Acknowledge(item.Sequence)
		}
	}
	if err := b.ledger.changed.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return all
}

// Two processes that serve devices of one user do not write over each other, and what one device
// has not taken is not removed by what the others have, wherever they are connected.
func TestPositionsOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	a, b := sharedInboxes(t)
	for i := range 10 {
		a.append(t, fmt.Sprint(i), "ann")
	}
	if n := len(a.take(t, "ann", "phone", 2)); n != 10 {
		t.Fatalf("the phone has %d messages to take, want 10", n)
	}
	// Each has loaded what it knows before the other one writes.
	for i, at := range []*Inbox{a, b} {
		m, err := at.Open(testContext(t), app, "ann", fmt.Sprint("desk", i))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
	}
	a.take(t, "ann", "phone", 2)  // up to 4
	b.take(t, "ann", "laptop", 8) // it began with 2, and has 10
	if n := len(b.take(t, "ann", "phone", 0)); n != 6 {
		t.Errorf("at b the phone has %d messages to take, want 6", n)
	}
	if n := len(a.take(t, "ann", "laptop", 0)); n != 0 {
		t.Errorf("at a the laptop has %d messages to take, want none", n)
	}
	// A device that says less to one than it said to the other keeps what it said.
	c := change{key: userKey(app, "ann"), user: new(userDevices), devices: []position{{Device: "laptop", Sequence: 3, At: 1}}}
	if err := a.publishDevices(testContext(t), []change{c}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.take(t, "ann", "laptop", 0)); n != 0 {
		t.Errorf("the laptop has %d messages to take again", n)
	}
	if low, err := b.floorOf(testContext(t), change{key: userKey(app, "ann"), devices: []position{{Device: "laptop", Sequence: 10}}}); err != nil || low != 4 {
		t.Errorf("messages up to %d may be removed, %v; the phone has taken 4", low, err)
	}
}

// What a device has taken is written when it leaves, rather than within a second, when it may
// be at another process.
func TestWhatALeavingDeviceHasTakenIsWritten(t *testing.T) {
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := &Inbox{cfg: Config{Shared: shared}, metrics: newMetrics(nil)}
			o := &appInboxes{inbox: b}
			o.hub.init()
			written := 0
			b.ledger.init(func(_ context.Context, users map[string]*userDevices) error {
				written += len(users)
				clear(users)
				return nil
			})
			var running sync.WaitGroup
			running.Go(func() { b.ledger.changed.Run(ctx, func(err error) { t.Error(err) }) })
			for i := range 30 {
				key := fmt.Sprint("ann", i)
				m := &Mailbox{inboxes: o, box: key, key: key, device: "phone", cursor: 5}
				o.hub.add(m)
				b.ledger.users[key] = &userDevices{boxes: 1}
				m.Acknowledge(5)
				m.Close()
				synctest.Wait()
			}
			if all := written == 30; all != shared {
				t.Errorf("%d of 30 devices are written at once; are they shared? %t", written, shared)
			}
			cancel()
			running.Wait()
		})
	}
}

// What a message's sender was told is stored is read by a device that connects to another process,
// even if the replica that it is read from lags.
func TestMailboxIsNotBehindTheLeader(t *testing.T) {
	t.Parallel()
	nc := connection(t)
	cfg := testConfig(t)
	cfg.Shared = true
	a := openInbox(t, nc, cfg)
	lagging := 3
	cfg.lag = func(items []Item) []Item {
		if lagging--; lagging >= 0 {
			return items[:len(items)-lagging-1]
		}
		return items
	}
	b := openInbox(t, nc, cfg)
	for i := range 5 {
		a.append(t, fmt.Sprint(i), "ann")
	}
	if n := len(b.take(t, "ann", "phone", 0)); n != 5 {
		t.Errorf("%d messages of 5", n)
	}
}

// A body that a replica does not have yet is not taken for one that has made room: the leader is
// asked for it.
func TestBodiesAreReadFromTheLeader(t *testing.T) {
	t.Parallel()
	nc := connection(t)
	cfg := testConfig(t)
	cfg.Shared = true
	body := bytes.Repeat([]byte("x"), maxCopies)
	openInbox(t, nc, cfg).appendFrom(t, "zoe", body, "ann", "ben")
	asked, err := nc.SubscribeSync("$JS.API.STREAM.MSG.GET." + appStreamName(app))
	if err != nil {
		t.Fatal(err)
	}
	direct, err := nc.SubscribeSync("$JS.API.DIRECT.GET." + appStreamName(app))
	if err != nil {
		t.Fatal(err)
	}
	if got := openInbox(t, nc, cfg).take(t, "ann", "phone", 0); len(got) != 1 || got[0] != string(body) {
		t.Errorf("%d messages", len(got))
	}
	for {
		m, err := asked.NextMsg(patience)
		if err != nil {
			t.Fatalf("the leader was not asked for the body: %v", err)
		}
		if string(m.Data) == `{"seq":1}` {
			break
		}
	}
	for {
		m, err := direct.NextMsg(100 * time.Millisecond)
		if err != nil {
			break
		}
		if !bytes.Contains(m.Data, []byte(`"batch"`)) {
			t.Errorf("a replica was asked: %s", m.Data)
		}
	}
}

// A server that served the users alone until now leaves their positions to several.
func TestPositionsOfBeforeAreTakenOver(t *testing.T) {
	t.Parallel()
	nc := connection(t)
	cfg := testConfig(t)
	alone := openInbox(t, nc, cfg)
	for i := range 3 {
		alone.append(t, fmt.Sprint(i), "ann")
	}
	alone.take(t, "ann", "phone", 2)
	cfg.Shared = true
	shared := openInbox(t, nc, cfg)
	if n := len(shared.take(t, "ann", "phone", 1)); n != 1 {
		t.Errorf("the phone has %d messages to take, want 1", n)
	}
	if n := len(openInbox(t, nc, cfg).take(t, "ann", "phone", 0)); n != 0 {
		t.Errorf("the phone has %d messages to take again", n)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(context.Background(), deviceStream); err != nil {
		t.Error(err)
	}
}
