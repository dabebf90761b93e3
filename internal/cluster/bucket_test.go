package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// brokers are three NATS servers, and a connection to each.
func brokers(t testing.TB) (servers []*natstest.Server, conns []*nats.Conn) {
	t.Helper()
	servers = natstest.StartCluster(t, 3)
	for _, s := range servers {
		conns = append(conns, s.JetStream().Conn())
	}
	return servers, conns
}

func bucket(t testing.TB, nc *nats.Conn) *Bucket {
	t.Helper()
	b, err := OpenBucket(testContext(t), nc, "receiptd_test", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Of many nodes that share a secret at the same time, all have the same one.
func TestAllNodesShareOneSecret(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	var mu sync.Mutex
	got := map[string]int{}
	var group sync.WaitGroup
	for i := range 9 {
		b := bucket(t, conns[i%3])
		group.Go(func() {
			secret, err := b.Share(ctx, "secret.token", func() ([]byte, error) { return fmt.Appendf(nil, "of node %d", i), nil })
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[string(secret)]++
		})
	}
	group.Wait()
	if len(got) != 1 {
		t.Errorf("%d secrets: %v", len(got), got)
	}
}

// A change is made on what was read, or not at all; what is deleted is not there, and can be made
// again.
func TestCompareAndSet(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	a, b := bucket(t, conns[0]), bucket(t, conns[1])
	first, err := a.Create(ctx, "sink.0", []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, "sink.0", []byte("b")); !errors.Is(err, ErrConflict) {
		t.Errorf("made twice: %v", err)
	}
	second, err := b.Update(ctx, "sink.0", []byte("b"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Update(ctx, "sink.0", []byte("zombie"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("changed on what is no more: %v", err)
	}
	if v, r, err := a.Get(ctx, "sink.0"); err != nil || string(v) != "b" || r != second {
		t.Errorf("%q at %d, %v; want b at %d", v, r, err, second)
	}
	if _, err := a.Create(ctx, "sink.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Keys(ctx, "sink."); err != nil || len(all) != 2 || string(all["sink.1"]) != "x" {
		t.Errorf("%q, %v", all, err)
	}
	if err := b.Delete(ctx, "sink.0"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Get(ctx, "sink.0"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was deleted: %v", err)
	}
	if all, err := a.Keys(ctx, "sink."); err != nil || len(all) != 1 {
		t.Errorf("%q, %v", all, err)
	}
	if _, err := a.Create(ctx, "sink.0", []byte("again")); err != nil {
		t.Error(err)
	}
}
