package inbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Nobody is told that a message is in the inboxes before the server has said so.
func TestNothingIsStoredBeforeItsAnswer(t *testing.T) {
	proxy := natstest.StartProxy(t, natstest.StartServer(t).Addr())
	log := natstest.OpenLog(t, eventlog.Config{URL: proxy.URL(), Partitions: 1})
	nc, err := log.Connect(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	b := openInbox(t, nc, testConfig(t))
	b.append(t, "the first one makes the app's stream, which waits for an answer of its own", "ann")
	for _, users := range [][]string{{"ann"}, numbers(0, minBatch-1), numbers(0, minBatch+1)} {
		proxy.Hold()
		o, err := b.Append(Message{App: app, Sender: "zoe", Users: users, Data: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		brief, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
		if err := o.Wait(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("to %d users, while no answer comes: %v", len(users), err)
		}
		cancel()
		proxy.Release()
		if err := o.Wait(testContext(t)); err != nil {
			t.Errorf("to %d users: %v", len(users), err)
		}
	}
}

// The follower of the stream offers what a read of the stream had already.
func TestWhatWasReadIsNotHandedOutLive(t *testing.T) {
	b := openInbox(t, connection(t), testConfig(t))
	b.append(t, "read", "ann")
	m := b.mailbox(t, "ann", "web")
	items, _, err := m.Next(testContext(t), 10, 1<<20)
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	m.offer(items[0])
	if items, _, err := m.Next(testContext(t), 10, 1<<20); err != nil || len(items) != 0 {
		t.Errorf("%d items once more, %v", len(items), err)
	}
}

// Messages are removed once the slowest of a user's devices has them.
func TestFloorIsThatOfTheSlowestDevice(t *testing.T) {
	if got := floor([]position{{Device: "web", Sequence: 9}, {Device: "phone", Sequence: 5}, {Device: "tablet", Sequence: 7}}); got != 5 {
		t.Errorf("floor %d, want 5", got)
	}
	if got := floor(nil); got != 0 {
		t.Errorf("floor of no device: %d", got)
	}
}
