package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

func nameBus(t *testing.T, nc *nats.Conn) Bus {
	bus, err := NewNameBus(nc)
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// While a process that has a name answers, no other one gets it; once it is gone, another one does.
func TestNameIsOneProcess(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])
	release, err := TakeName(ctx, nameBus(t, conns[0]), b, "a", "1")
	if err != nil {
		t.Fatal(err)
	}
	second := nameBus(t, conns[1])
	for { // until the other servers know that somebody listens
		if _, err := second.Ask(ctx, "a", nil); err == nil {
			break
		} else if !errors.Is(err, ErrNobody) {
			t.Fatal(err)
		}
	}
	if _, err := TakeName(ctx, second, b, "a", "2"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a second process: %v", err)
	}
	other, err := TakeName(ctx, second, b, "b", "3")
	if err != nil {
		t.Errorf("another name: %v", err)
	}
	other()
	release()
	release, err = TakeName(ctx, nameBus(t, conns[2]), b, "a", "4")
	if err != nil {
		t.Fatalf("after the first one is gone: %v", err)
	}
	release()
}

// A node whose bucket does not answer at its start may try again.
func TestNodeBeginsAgainWithoutItsBucket(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	o := Options{Name: "a", Life: "1", Bucket: bucket(t, conns[0]), Log: oneLog{}, State: &copyHere{}, Registerer: prometheus.NewRegistry(), Draining: func() bool { return false }}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := New(ended, o); err == nil {
		t.Fatal("nobody was asked what the node needs of the log")
	}
	if _, err := New(ctx, o); err != nil {
		t.Fatal(err)
	}
	if names, err := Nodes(ctx, o.Bucket); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("the nodes are %v, %v", names, err)
	}
}

// A process whose name was taken while it stood still ends when it hears of the other one, and the
// other one goes on.
func TestNodeThatLostItsNameEnds(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])
	if err := b.Put(ctx, lifePrefix+"a", []byte("later")); err != nil {
		t.Fatal(err)
	}
	ends := func(life, heard string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		n := &Node{o: Options{Name: "a", Life: life, Bucket: b, Logger: slog.New(slog.DiscardHandler)}}
		n.members = newMembers(nil, "a", life, 1, n.beat)
		text, err := json.Marshal(beat{Node: "a", Life: heard, Log: 1})
		if err != nil {
			t.Fatal(err)
		}
		n.members.receive(text)
		return n.contest(ctx)
	}
	if err := ends("earlier", "later"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("the one that began earlier: %v", err)
	}
	if err := ends("later", "earlier"); err != nil {
		t.Errorf("the one that began later: %v", err)
	}
	if err := ends("earlier", "earlier"); err != nil {
		t.Errorf("one that hears itself: %v", err)
	}
}
