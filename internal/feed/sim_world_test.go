package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/lab/simnet"
	"github.com/receiptd/receiptd/projections"
)

// world is a log of one partition, and nodes that fold it, on a network with delays and losses.
// Time is the bubble's.
type world struct {
	t     *testing.T
	ctx   context.Context
	net   *simnet.Network
	r     *rand.Rand
	mu    sync.Mutex
	log   []projections.Decoded // entry i has the sequence i+1
	reads map[string]time.Time  // when each message was read
	nodes map[string]*node
}

// node is one of them.
type node struct {
	*world
	*simnet.Node
	hub   *notify.Hub
	feeds *Feeds

	fold   sync.Mutex // held while an entry is folded
	part   *projections.Partition
	folded uint64
	live   uint64 // from this entry on it tells; before that it does not serve
	copy   bool   // it has one
	stuck  bool   // and does not fold
}

// empty is the backing of a fold that never commits.
type empty struct{}

func (empty) Get([]byte) ([]byte, error)                         { return nil, nil }
func (empty) Scan([]byte, func(key, value []byte) error) error   { return nil }
func (empty) Range(_, _ []byte, _ func(_, _ []byte) error) error { return nil }

func newWorld(t *testing.T, ctx context.Context, seed uint64, names ...string) *world {
	w := &world{t: t, ctx: ctx, r: rand.New(rand.NewPCG(seed, 1)), reads: map[string]time.Time{}, nodes: map[string]*node{}}
	w.net = simnet.New(rand.New(rand.NewPCG(seed, 2)), 2*time.Millisecond, cluster.ErrNobody)
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	w.append(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "alice", Members: []string{"bob"}})
	for _, name := range names {
		n := &node{world: w, Node: w.net.Add(name), hub: notify.New(1, notify.Options{FlushInterval: 10 * time.Millisecond}), copy: true}
		n.feeds = New(n.hub, 1)
		n.feeds.Join(Options{
			ID: "1", Node: name, Bus: n.Node, State: n,
			Copies: func(int) (preferred, others []string) {
				return slices.DeleteFunc(slices.Clone(names), func(x string) bool { return x == name }), nil
			},
			Furthest: func(int) uint64 { return w.furthest() }, Registerer: prometheus.NewRegistry(), Logger: slog.New(strict{slog.DiscardHandler, t}),
		})
		n.begin(0)
		w.nodes[name] = n
		go n.run()
		go func() { _ = n.feeds.Run(ctx) }()
	}
	return w
}

// strict fails a test in which a copy is said to tell what it must not: there is none that lies.
type strict struct {
	slog.Handler
	t *testing.T
}

func (strict) Enabled(context.Context, slog.Level) bool { return true }

func (s strict) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && errors.Is(err, errUnsound) {
			s.t.Errorf("%s: %v", r.Message, err)
		}
		return true
	})
	return nil
}

func (w *world) random(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

func (w *world) append(list ...events.Event) {
	for i := range list {
		list[i].App = "o#a"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := new(events.Batch)
	batch.SetEvents(list)
	w.log = append(w.log, projections.Decoded{Sequence: uint64(len(w.log) + 1), At: int64(len(w.log) + 1), Batch: batch})
}

// read has bob read a message of alice's.
func (w *world) read(message string) {
	w.append(events.Event{Kind: events.MessageSent, Group: "g", User: "alice", Message: message, Receipt: true},
		events.Event{Kind: events.MessageRead, Group: "g", User: "bob", Message: message})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads[message] = time.Now()
}

func (w *world) entry(sequence uint64) (x projections.Decoded, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sequence > uint64(len(w.log)) {
		return x, false
	}
	return w.log[sequence-1], true
}

func (w *world) furthest() (at uint64) {
	for _, n := range w.nodes {
		n.fold.Lock()
		at = max(at, n.folded)
		n.fold.Unlock()
	}
	return at
}

// begin has the node fold anew, and serve from an entry on. It is called alone or with fold held.
func (n *node) begin(live uint64) {
	part, err := projections.Open(0, empty{}, projections.Options{Limits: projections.Limits{SummaryItems: 1 << 20}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.part, n.folded, n.live = part, 0, live
	if live == 0 {
		part.MakeEffects(n.feeds.Of(0).Online)
	}
}

// run folds as a projector does.
func (n *node) run() {
	for n.ctx.Err() == nil {
		n.Awake()
		n.fold.Lock()
		x, more := n.entry(n.folded + 1)
		if more = more && n.copy && !n.stuck; more {
			if _, err := n.part.Apply(x); err != nil {
				n.t.Error(err)
			}
			n.folded++
			if n.folded == n.live {
				n.part.MakeEffects(n.feeds.Of(0).Online)
			}
			if n.folded >= n.live {
				if list := n.part.TakeEffects(nil); len(list) > 0 {
					n.feeds.Of(0).Push(list)
				}
				n.feeds.Of(0).Folded(n.folded)
			}
		}
		n.fold.Unlock()
		if !more || n.random(4) == 0 {
			time.Sleep(time.Duration(n.random(3000)) * time.Microsecond) // the bubble's time
		}
	}
}

// lose takes the node's copy away; again has it fold another one.
func (n *node) lose() {
	n.fold.Lock()
	defer n.fold.Unlock()
	n.live, n.copy = max(n.folded, n.live), false
}

func (n *node) again() {
	n.fold.Lock()
	defer n.fold.Unlock()
	n.begin(n.live)
	n.copy = true
}

func (n *node) Serves(_ int, sequence uint64) bool {
	n.fold.Lock()
	defer n.fold.Unlock()
	return n.copy && n.folded >= max(n.live, sequence)
}

func (n *node) Folded() []uint64 {
	n.fold.Lock()
	defer n.fold.Unlock()
	return []uint64{max(n.folded, n.live)}
}

func (n *node) Ask(_ int, f func(*projections.Partition) error) error {
	if !n.Serves(0, 0) {
		return errors.New("lost")
	}
	return f(n.part)
}

// write has messages read until the function that is returned is called.
func (w *world) write(prefix string) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			w.read(fmt.Sprint(prefix, i))
			time.Sleep(time.Duration(w.random(20)) * time.Millisecond) // the bubble's time
		}
	}()
	return func() { cancel(); <-done }
}
