package simnet

import (
	"math/rand/v2"
	"sync"
	"time"
)

// shortest is the delay that every message has.
const shortest = 100 * time.Microsecond

// Network is what nodes reach each other by.
type Network struct {
	slow   time.Duration
	nobody error

	mu    sync.Mutex
	r     *rand.Rand
	loss  float64
	nodes map[string]*Node
	names []string           // in the order in which they were added
	cut   map[[2]string]bool // from, to
}

// New makes a network without nodes or losses. A message takes slow at the longest. The error
// nobody is what a question to a node that is gone comes to.
func New(r *rand.Rand, slow time.Duration, nobody error) *Network {
	return &Network{r: r, slow: slow, nobody: nobody, nodes: map[string]*Node{}, cut: map[[2]string]bool{}}
}

// Add adds a node, which runs.
func (n *Network) Add(name string) *Node {
	x := &Node{name: name, net: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[name] = x
	n.names = append(n.names, name)
	return x
}

// SetLoss sets which share of all messages is lost.
func (n *Network) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Loss is the share that [Network.SetLoss] set.
func (n *Network) Loss() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.loss
}

// Cut has all messages from one node to another be lost, or none any more.
func (n *Network) Cut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from, to}] = cut
}

// IsCut reports whether messages from one node to another are lost by [Network.Cut].
func (n *Network) IsCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}]
}

// Heal ends losses and cuts, and has all nodes that stand still go on. Those that are gone stay so.
func (n *Network) Heal() {
	n.mu.Lock()
	n.loss, n.cut = 0, map[[2]string]bool{}
	n.mu.Unlock()
	for _, x := range n.all() {
		x.Resume()
	}
}

// way is how long a message takes; ok is false if it is lost.
func (n *Network) way(from, to string) (d time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[[2]string{from, to}] || n.r.Float64() < n.loss {
		return 0, false
	}
	return shortest + time.Duration(n.r.Int64N(int64(n.slow))), true
}

func (n *Network) node(name string) *Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[name]
}

func (n *Network) all() (list []*Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range n.names {
		list = append(list, n.nodes[name])
	}
	return list
}
