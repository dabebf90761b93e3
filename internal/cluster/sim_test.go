package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var seeds = flag.Int("seeds", 25, "how many simulations of nodes that ask each other")

// simNet is a network with seeded delay and loss, whose nodes may be cut off, stand still or be
// gone. Time is the bubble's.
type simNet struct {
	mu     sync.Mutex
	r      *rand.Rand
	loss   float64
	slow   time.Duration // longest delay of a message
	nodes  map[string]*simNode
	cut    map[[2]string]bool // from, to
	answer map[string]func([]byte) []byte
	listen map[string]func([]byte)
}

// simNode is a node: what it has folded, and what is the matter with it.
type simNode struct {
	name    string
	net     *simNet
	members *membership
	asker   *Asker

	mu     sync.Mutex
	folded []uint64
	lost   []bool // copies that it does not answer from
	gone   bool
	paused chan struct{} // closed when it goes on; nil if it runs
}

// simBus is the network as one node has it.
type simBus struct{ *simNode }

// way is how long a message takes; ok is false if it is lost.
func (n *simNet) way(from, to string) (d time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[[2]string{from, to}] || n.r.Float64() < n.loss {
		return 0, false
	}
	return time.Duration(n.r.Int64N(int64(n.slow))) + 100*time.Microsecond, true
}

// awake waits until a node runs. It reports whether it still is there.
func (x *simNode) awake() bool {
	for {
		x.mu.Lock()
		paused, gone := x.paused, x.gone
		x.mu.Unlock()
		if paused == nil || gone {
			return !gone
		}
		<-paused
	}
}

func (b simBus) Tell(node string, text []byte) error {
	if !b.awake() {
		return nil
	}
	b.net.mu.Lock()
	names := slices.Sorted(maps.Keys(b.net.listen))
	b.net.mu.Unlock()
	for _, to := range names {
		if d, ok := b.net.way(node, to); ok {
			time.AfterFunc(d, func() {
				b.net.mu.Lock()
				f, target := b.net.listen[to], b.net.nodes[to]
				b.net.mu.Unlock()
				if target.awake() {
					f(text)
				}
			})
		}
	}
	return nil
}

func (b simBus) Listen(f func([]byte)) (stop func(), err error) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.net.listen[b.name] = f
	return func() {}, nil
}

func (b simBus) Ask(ctx context.Context, node string, question []byte) ([]byte, error) {
	there, ok1 := b.net.way(b.name, node)
	back, ok2 := b.net.way(node, b.name)
	b.net.mu.Lock()
	target, f := b.net.nodes[node], b.net.answer[node]
	b.net.mu.Unlock()
	target.mu.Lock()
	gone := target.gone
	target.mu.Unlock()
	switch {
	case gone && ok1: // the server says so
		time.Sleep(there) // by the clock of the bubble
		return nil, ErrNobody
	case !ok1 || !ok2:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := make(chan []byte, 1)
	go func() {
		time.Sleep(there) // by the clock of the bubble
		if !target.awake() {
			return
		}
		text := f(question)
		if target.awake() {
			time.Sleep(back) // by the clock of the bubble
			got <- text
		}
	}()
	select {
	case text := <-got:
		return text, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b simBus) Answer(node string, f func([]byte) []byte) (stop func(), err error) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.net.answer[node] = f
	return func() {}, nil
}

func (x *simNode) beat() beat {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := beat{Node: x.name, Life: "1", Log: 1, State: StateServing}
	for k, at := range x.folded {
		b.Copies = append(b.Copies, copyBeat{Applied: at, Quarantined: x.lost[k]})
	}
	return b
}

// waitFor waits until the node has folded an entry.
func (x *simNode) waitFor(ctx context.Context, of Entry) error {
	for {
		x.mu.Lock()
		at := x.folded[of.Partition]
		x.mu.Unlock()
		if at >= of.Sequence {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reply answers with the value that the partition has at the entry that the node has folded.
func (x *simNode) reply(ctx context.Context, q *Question, of Entry) Answer {
	err := x.waitFor(ctx, of)
	x.mu.Lock()
	defer x.mu.Unlock()
	a := Answer{Entry: Entry{of.Partition, x.folded[of.Partition]}}
	if err != nil || x.lost[of.Partition] {
		a.Problem = &Problem{Code: Elsewhere, Text: "lost or behind"}
		return a
	}
	a.Result, _ = json.Marshal(simValue(of.Partition, a.Sequence))
	return a
}

func simValue(partition int, sequence uint64) string { return fmt.Sprint(partition, "@", sequence) }

const simPartitions = 6

// newSim makes nodes, which hear of each other.
func newSim(t *testing.T, ctx context.Context, r *rand.Rand, names ...string) *simNet {
	n := &simNet{
		r: r, slow: 3 * time.Millisecond, nodes: map[string]*simNode{}, cut: map[[2]string]bool{},
		answer: map[string]func([]byte) []byte{}, listen: map[string]func([]byte){},
	}
	for _, name := range names {
		x := &simNode{name: name, net: n, folded: make([]uint64, simPartitions), lost: make([]bool, simPartitions)}
		n.nodes[name] = x
		x.members = newMembers(simBus{x}, name, "1", 1, x.beat)
		x.asker = &Asker{Bus: simBus{x}, Copies: x.members.copiesOf}
		if _, err := answer(simBus{x}, name, x.reply); err != nil {
			t.Fatal(err)
		}
		go func() { _ = x.members.run(ctx) }()
	}
	time.Sleep(Settle) // by the clock of the bubble
	return n
}

// Whatever the network and the nodes do: an answer is complete, true, and as new as was asked; and
// there is one while a node that can answer is reached.
func TestAskingThroughFaults(t *testing.T) {
	for seed := range *seeds {
		synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 43))
	ctx, cancel := context.WithCancel(t.Context())
	names := []string{"a", "b", "c", "d", "e"}[:3+r.IntN(3)]
	n := newSim(t, ctx, rand.New(rand.NewPCG(seed, 44)), names...)
	stop := make(chan struct{})
	var work sync.WaitGroup
	for i, name := range names {
		x, r := n.nodes[name], rand.New(rand.NewPCG(seed, uint64(100+i)))
		work.Go(func() { // fold
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(20+r.IntN(80)) * time.Millisecond):
				}
				x.mu.Lock()
				if x.paused == nil && !x.gone {
					for k := range x.folded {
						x.folded[k] += uint64(r.IntN(10))
					}
				}
				x.mu.Unlock()
			}
		})
	}
	answered, refused := 0, 0
	for range 25 {
		asker := n.nodes[names[0]]
		n.fault(r, names[1:])
		if r.IntN(2) == 0 {
			time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond) // by the clock of the bubble
		}
		var of []Entry
		for k := range simPartitions {
			if len(of) == 0 || r.IntN(2) == 0 {
				asker.mu.Lock()
				of = append(of, Entry{k, asker.folded[k]})
				asker.mu.Unlock()
			}
		}
		sure := n.sure(asker.name, of)
		asking, done := context.WithTimeout(ctx, 5*time.Second)
		began := time.Now()
		got, err := asker.asker.Ask(asking, Question{Name: "q", Of: of})
		done()
		took := time.Since(began)
		if err != nil {
			refused++
			if !errors.Is(err, errNoCopy) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if sure {
				t.Errorf("a node with everything was reached, and the answer is %v", err)
			}
			continue
		}
		answered++
		if sure && took > 2*time.Second {
			t.Errorf("the answer took %v", took)
		}
		if len(got) != len(of) {
			t.Errorf("%d answers to %d questions", len(got), len(of))
		}
		for i, a := range got {
			var value string
			if json.Unmarshal(a.Result, &value) != nil || a.Partition != of[i].Partition || a.Sequence < of[i].Sequence || value != simValue(a.Partition, a.Sequence) {
				t.Errorf("%+v was asked, and the answer is %+v %s", of[i], a, value)
			}
		}
	}
	if seed < 20 && answered == 0 {
		t.Errorf("nothing was answered, and %d refused", refused)
	}
	n.heal(names)
	close(stop)
	work.Wait()
	cancel()
	time.Sleep(time.Minute) // what is under way ends
	synctest.Wait()
}

// fault does something to the nodes or to what is between them.
func (n *simNet) fault(r *rand.Rand, names []string) {
	name := names[r.IntN(len(names))]
	x := n.nodes[name]
	x.mu.Lock()
	defer x.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r.IntN(8) {
	case 0:
		x.gone = !x.gone
	case 1:
		if x.paused == nil {
			x.paused = make(chan struct{})
		} else {
			close(x.paused)
			x.paused = nil
		}
	case 2:
		k := r.IntN(simPartitions)
		x.lost[k] = !x.lost[k]
	case 3:
		way := [2]string{name, "a"}
		n.cut[way] = !n.cut[way]
	case 4:
		way := [2]string{"a", name}
		n.cut[way] = !n.cut[way]
	case 5:
		n.loss = []float64{0, 0, 0.1}[r.IntN(3)]
	case 6:
		for k := range x.folded { // it is behind the others for a while
			x.folded[k] -= min(x.folded[k], uint64(r.IntN(100)))
		}
	}
}

// sure reports whether a node has copies of all that is asked, as new as is asked, and was so long
// enough for the one that asks to know it.
func (n *simNet) sure(asker string, of []Entry) bool {
	n.mu.Lock()
	loss := n.loss
	n.mu.Unlock()
	for _, m := range n.nodes[asker].members.list() {
		x := n.nodes[m.Node]
		if m.Node == asker || m.silent() || loss > 0 {
			continue
		}
		x.mu.Lock()
		good := !x.gone && x.paused == nil
		for _, e := range of {
			good = good && !x.lost[e.Partition] && !m.Copies[e.Partition].Quarantined && x.folded[e.Partition] >= e.Sequence
		}
		x.mu.Unlock()
		n.mu.Lock()
		good = good && !n.cut[[2]string{m.Node, asker}] && !n.cut[[2]string{asker, m.Node}]
		n.mu.Unlock()
		if good {
			return true
		}
	}
	return false
}

// heal has every node go on.
func (n *simNet) heal(names []string) {
	for _, name := range names {
		x := n.nodes[name]
		x.mu.Lock()
		if x.paused != nil {
			close(x.paused)
			x.paused = nil
		}
		x.mu.Unlock()
	}
}
