package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/lab/metrictest"
)

// forgettable is a log whose servers forget a node.
type forgettable struct{ oneLog }

func (forgettable) ForgetPeer(context.Context, string) error { return nil }

// known is a process of a node that has run for an hour, and heard of nobody.
func known(t *testing.T, b *Bucket, name, life string) (*Node, *prometheus.Registry) {
	t.Helper()
	ctx, registry := testContext(t), prometheus.NewRegistry()
	plan, err := Join(ctx, b, name, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(ctx, Options{
		Name: name, Life: life, Bucket: b, Register: b, Plan: plan, Log: forgettable{}, State: &copyHere{}, Registerer: registry,
		Logger: slog.New(slog.DiscardHandler), Draining: func() bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.look()
	n.members.told, n.members.since = time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	return n, registry
}

// shows is what a node shows of another one.
func (n *Node) shows(node string) (state string, heard time.Duration) {
	v := n.Describe()
	i := slices.IndexFunc(v.Nodes, func(x NodeView) bool { return x.Node == node })
	if i < 0 {
		return "", 0
	}
	return v.Nodes[i].State, time.Duration(v.Nodes[i].HeardMS) * time.Millisecond
}

// Whoever is known by the bucket is shown, and wanted, however long it is silent, to each process
// that begins meanwhile, too; until it is forgotten, by each.
func TestSilentNodesAreShownUntilTheyAreForgotten(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	bucket := bucket(t, conns[0])
	known(t, bucket, "b", "1")
	before, _ := known(t, bucket, "a", "1")
	before.members.note(beat{Node: "b", Life: "1", State: StateServing, Copies: []copyBeat{{}}})
	if state, _ := before.shows("b"); state != StateServing {
		t.Fatalf("b is %q", state)
	}
	before.members.nodes["b"].heard = time.Now().Add(-time.Hour)
	if _, err := before.learn(ctx); err != nil {
		t.Fatal(err)
	}
	if state, heard := before.shows("b"); state != StateSilent || heard < time.Hour {
		t.Errorf("after an hour b is %q, heard of %v ago", state, heard)
	}
	after, registry := known(t, bucket, "a", "2")
	if state, heard := after.shows("b"); state != StateSilent || heard > time.Minute {
		t.Errorf("to a process that began later b is %q, heard of %v ago", state, heard)
	}
	figures := func(silent, wanted float64) {
		t.Helper()
		for _, m := range []struct {
			name, label, value string
			want               float64
		}{{"receiptd_cluster_nodes", "state", StateSilent, silent}, {"receiptd_cluster_copies_wanted", "partition", "0", wanted}, {"receiptd_cluster_copies", "partition", "0", 1}} {
			if got := metrictest.Value(t, registry, m.name, m.label, m.value); got != m.want {
				t.Errorf("%s of %s is %v, want %v", m.name, m.value, got, m.want)
			}
		}
	}
	figures(1, 2)
	if err := after.Drain(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	figures(1, 1) // it is silent all the same, and to have no copies
	if err := after.Undrain(ctx, "b"); err != nil {
		t.Fatal(err)
	}

	if err := after.Forget(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if state, _ := after.shows("b"); state != "" {
		t.Errorf("b was forgotten, and is %q", state)
	}
	figures(0, 1)
	if _, err := before.learn(ctx); err != nil {
		t.Fatal(err)
	}
	if state, _ := before.shows("b"); state != "" {
		t.Errorf("b was forgotten by another node, and is %q", state)
	}
	if err := after.Forget(ctx, "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("forgotten twice: %v", err)
	}
}

// A process that has just begun has heard of nobody: it does not forget a node before it would
// have.
func TestNobodyIsForgottenBeforeAllAreHeard(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	bucket := bucket(t, conns[0])
	known(t, bucket, "b", "1")
	n, _ := known(t, bucket, "a", "1")
	n.members.since = time.Now()
	beating, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	defer done.Wait()
	defer stop()
	first := true
	done.Go(func() {
		_ = every(beating, beatEvery, func() {
			if !first {
				n.members.note(beat{Node: "b", Life: "1", State: StateServing})
			}
			first = false
		})
	})
	if err := n.Forget(ctx, "b"); !errors.Is(err, ErrConflict) {
		t.Errorf("a node that is there was forgotten: %v", err)
	}
	if names, err := Nodes(ctx, bucket); err != nil || !slices.Contains(names, "b") {
		t.Errorf("the nodes are %v, %v", names, err)
	}
}
