package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/simnet"
)

var (
	seeds = flag.Int("seeds", 5, "how many simulations of nodes")
	from  = flag.Int("seed", 0, "the first of them")
)

// eachSeed runs so many simulations, and names the one that fails.
func eachSeed(t *testing.T, count int, simulate func(t *testing.T, seed uint64)) {
	for i := range count {
		seed := uint64(*from + i)
		synctest.Test(t, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			simulate(t, seed)
		})
	}
}

// sim is nodes on a network.
type sim struct {
	net   *simnet.Network
	nodes map[string]*simNode
}

// simNode is a node: what it has folded, and what is the matter with it.
type simNode struct {
	*simnet.Node
	members *membership
	asker   *Asker

	mu     sync.Mutex
	folded []uint64
	lost   []bool // copies that it does not answer from
}

// simDelay is how long a message takes at the longest.
const simDelay = 3 * time.Millisecond

func (x *simNode) beat() beat {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := beat{Node: x.Name(), Life: "1", Log: 1, State: StateServing}
	for k, at := range x.folded {
		b.Copies = append(b.Copies, copyBeat{Applied: at, Quarantined: x.lost[k]})
	}
	return b
}

// waitFor waits until the node has folded an entry.
func (x *simNode) waitFor(ctx context.Context, of eventlog.Position) error {
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
func (x *simNode) reply(ctx context.Context, q *Question, of eventlog.Position) Answer {
	err := x.waitFor(ctx, of)
	x.mu.Lock()
	defer x.mu.Unlock()
	a := Answer{Position: eventlog.Position{Partition: of.Partition, Sequence: x.folded[of.Partition]}}
	if err != nil || x.lost[of.Partition] {
		a.Problem = &Problem{Code: Unavailable, Text: "lost or behind"}
		return a
	}
	a.Result, _ = json.Marshal(simValue(of.Partition, a.Sequence))
	return a
}

func simValue(partition int, sequence uint64) string { return fmt.Sprint(partition, "@", sequence) }

const simPartitions = 6

// newSim makes nodes, which hear of each other.
func newSim(t *testing.T, ctx context.Context, r *rand.Rand, names ...string) *sim {
	n := &sim{net: simnet.New(r, simDelay, ErrNobody), nodes: map[string]*simNode{}}
	for _, name := range names {
		x := &simNode{Node: n.net.Add(name), folded: make([]uint64, simPartitions), lost: make([]bool, simPartitions)}
		n.nodes[name] = x
		x.members = newMembers(x, name, "1", 1, x.beat)
		x.asker = &Asker{Bus: x, Copies: x.members.copiesOf}
		if _, err := answer(x, name, x.reply); err != nil {
			t.Fatal(err)
		}
		go func() { _ = x.members.run(ctx) }()
	}
	time.Sleep(Settle) // by the clock of the bubble
	return n
}

// Whatever the network and the nodes do: an answer is complete, true, and as new as was asked; and
// there is one while a node that can answer is reached.
func TestSeedsOfAsking(t *testing.T) {
	eachSeed(t, *seeds, simulate)
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
				if !x.Runs() {
					continue
				}
				x.mu.Lock()
				for k := range x.folded {
					x.folded[k] += uint64(r.IntN(10))
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
		var of []eventlog.Position
		for k := range simPartitions {
			if len(of) == 0 || r.IntN(2) == 0 {
				asker.mu.Lock()
				of = append(of, eventlog.Position{Partition: k, Sequence: asker.folded[k]})
				asker.mu.Unlock()
			}
		}
		sure := n.sure(asker.Name(), of)
		asking, done := context.WithTimeout(ctx, 5*time.Second)
		began := time.Now()
		got, err := asker.asker.Ask(asking, Question{Name: "q", Of: of})
		done()
		took := time.Since(began)
		if err != nil {
			refused++
			if !isNoCopy(err) && !errors.Is(err, context.DeadlineExceeded) {
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
	n.net.Heal()
	close(stop)
	work.Wait()
	cancel()
	time.Sleep(time.Minute) // what is under way ends
	synctest.Wait()
}

// fault does something to the nodes or to what is between them.
func (n *sim) fault(r *rand.Rand, names []string) {
	name := names[r.IntN(len(names))]
	x := n.nodes[name]
	x.mu.Lock()
	defer x.mu.Unlock()
	switch r.IntN(8) {
	case 0:
		if x.Runs() {
			x.Kill()
		} else {
			x.Start()
		}
	case 1:
		if x.Paused() {
			x.Resume()
		} else {
			x.Pause()
		}
	case 2:
		k := r.IntN(simPartitions)
		x.lost[k] = !x.lost[k]
	case 3:
		n.net.Cut(name, "a", !n.net.IsCut(name, "a"))
	case 4:
		n.net.Cut("a", name, !n.net.IsCut("a", name))
	case 5:
		n.net.SetLoss([]float64{0, 0, 0.1}[r.IntN(3)])
	case 6:
		for k := range x.folded { // it is behind the others for a while
			x.folded[k] -= min(x.folded[k], uint64(r.IntN(100)))
		}
	}
}

// sure reports whether a node has copies of all that is asked, as new as is asked, and was so long
// enough for the one that asks to know it.
func (n *sim) sure(asker string, of []eventlog.Position) bool {
	for _, m := range n.nodes[asker].members.list() {
		x := n.nodes[m.Node]
		if m.Node == asker || m.silent() || n.net.Loss() > 0 {
			continue
		}
		good := x.Runs() && !n.net.IsCut(m.Node, asker) && !n.net.IsCut(asker, m.Node)
		x.mu.Lock()
		for _, e := range of {
			good = good && !x.lost[e.Partition] && !m.Copies[e.Partition].Quarantined && x.folded[e.Partition] >= e.Sequence
		}
		x.mu.Unlock()
		if good {
			return true
		}
	}
	return false
}
