package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// acked are the entries that a log says it has stored.
type acked struct {
	mu sync.Mutex
	at map[string]eventlog.Location // by group
}

// pour appends until the log refuses, and returns why it did.
func (a *acked) pour(ctx context.Context, l *eventlog.Log, name string) error {
	for i := 0; ; i++ {
		e := read(fmt.Sprintf("%s-%d", name, i), "u")
		ticket, err := l.Append(ctx, []events.Event{e})
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.at[e.Group] = ticket.Locate(0)
		a.mu.Unlock()
	}
}

// TestRepartitionFencesPublishers repartitions a log that three processes have open: two write, one
// of which has stood still before the fork point and goes on after it. Two others repartition at
// the same time. What was acknowledged is there, in the partition where everybody looks for it, and
// nothing is behind the fork points that was told to nobody.
func TestRepartitionFencesPublishers(t *testing.T) {
	for name, wake := range map[string]func(*natstest.Proxy){
		"its answers were late": (*natstest.Proxy).Release,
		"its answers were lost": (*natstest.Proxy).Cut,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repartitionFences(t, wake)
		})
	}
}

func repartitionFences(t *testing.T, wake func(*natstest.Proxy)) {
	ctx := testContext(t)
	servers := natstest.StartCluster(t, 3)
	url := natstest.ClusterURL(servers)
	proxy := natstest.StartProxy(t, servers[2].Addr())
	cfg := func(node string) eventlog.Config {
		c := eventlog.Config{URL: url, Partitions: 2, Replicas: 3, Node: node, Epoch: eventlog.NewEpoch()}
		if node == "paused" {
			c.URL = proxy.URL()
		}
		return c
	}
	var fence []eventlog.PublisherID
	logs := map[string]*eventlog.Log{}
	for _, node := range []string{"busy", "idle", "paused"} {
		c := cfg(node)
		fence = append(fence, eventlog.PublisherID{Node: node, Epoch: c.Epoch})
		logs[node] = natstest.OpenLog(t, c)
	}
	a := acked{at: map[string]eventlog.Location{}}
	var writers sync.WaitGroup
	ended := make([]error, 2)
	for i, node := range []string{"busy", "paused"} {
		writers.Go(func() { ended[i] = a.pour(ctx, logs[node], node) })
	}
	eventually(t, "both have written", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.at) > 50
	})
	proxy.Hold() // the answers: what it has sent is stored
	var doers sync.WaitGroup
	for i := range 2 {
		doers.Go(func() {
			nc, err := nats.Connect(servers[i].URL())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			if r, err := eventlog.RepartitionShared(ctx, nc, eventlog.Config{Replicas: 3}, 4, fence); err != nil || r.From != 2 || r.To != 4 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	doers.Wait()
	wake(proxy)
	writers.Wait()
	for _, err := range ended {
		if !errors.Is(err, eventlog.ErrFenced) && !errors.Is(err, eventlog.ErrUnknownOutcome) {
			t.Errorf("a writer ended with %v", err)
		}
	}
	if _, err := logs["idle"].Append(ctx, []events.Event{read("late", "u")}); !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("one that had not written: %v", err)
	}
	for _, l := range logs {
		if !errors.Is(l.Err(), eventlog.ErrFenced) {
			t.Errorf("a log that was fenced says %v", l.Err())
		}
		_ = l.Close(ctx) // it has failed
	}
	l := natstest.OpenLog(t, eventlog.Config{URL: url, Replicas: 3, Node: "after"})
	if l.Partitions() != 4 {
		t.Fatalf("%d partitions", l.Partitions())
	}
	found := map[string]bool{}
	for p := range 4 {
		for _, e := range entriesOf(t, ctx, l, p) { // decoded as one of so many partitions
			var b events.Batch
			if err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, e.Partitions, &b); err != nil {
				t.Fatalf("partition %d: entry %d: %v", p, e.Sequence, err)
			}
			for i := range b.Kinds {
				var x events.Event
				b.Event(i, &x)
				if home := events.Partition(&x, 4); x.Group != "" && home == p {
					found[x.Group] = true
				}
			}
		}
	}
	for group, at := range a.at {
		if !found[group] {
			t.Errorf("what was acknowledged of group %s at %+v is gone", group, at)
		}
	}
	if _, err := l.Append(ctx, []events.Event{read("afterwards", "u")}); err != nil {
		t.Error(err)
	}
	// One of long ago goes on.
	nc, err := nats.Connect(servers[0].URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := eventlog.RepartitionShared(ctx, nc, eventlog.Config{Replicas: 3}, 4, fence); err != nil {
		t.Error(err)
	}
	time.Sleep(10 * time.Millisecond) // for what it should not have appended
	natstest.CloseLog(t, l)
	natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{URL: url, Replicas: 3, Node: "last"}))
}

// TestRepartitionAsksAgain has the answer to what follows each step be lost: it is asked again,
// long before the time for all of it is over.
func TestRepartitionAsksAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(testContext(t), time.Minute)
	defer cancel()
	server := natstest.StartServer(t)
	natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Partitions: 1, Node: "a"}))
	proxy := natstest.StartProxy(t, server.Addr())
	nc, err := nats.Connect(proxy.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var steps []string
	var cuts sync.WaitGroup
	defer cuts.Wait()
	cfg := eventlog.WithStep(eventlog.Config{}, func(step string) {
		steps = append(steps, step)
		proxy.Hold()
		cuts.Go(func() {
			time.Sleep(50 * time.Millisecond) // for what it asks now to be on its way
			proxy.Cut()
		})
	})
	r, err := eventlog.RepartitionShared(ctx, nc, cfg, 2, nil)
	if err != nil || r.From != 1 || r.To != 2 || len(steps) < 6 {
		t.Fatalf("%+v, %v after the steps %v", r, err, steps)
	}
	if l := natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Node: "a"}); l.Partitions() != 2 {
		t.Errorf("%d partitions", l.Partitions())
	}
}
