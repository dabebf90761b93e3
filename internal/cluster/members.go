package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

const (
	// beatEvery is the time between two beats of a node. One that is silent for silentAfter is not
	// counted on, and one that is so for goneAfter may be taken over from. Both are only hints.
	beatEvery   = 200 * time.Millisecond
	silentAfter = time.Second
	goneAfter   = 3 * time.Second
	// Settle is after what time a node that has just begun has heard of all others.
	Settle = goneAfter + 2*beatEvery
	// forgetAfter is when a silent node is not shown any more.
	forgetAfter = 10 * time.Minute

	beatSubject = "receipts.cluster.v1.beat."
)

// States of a node, and of a copy.
const (
	StateStarting  = "starting"  // it has not folded what the log held at its start
	StateServing   = "serving"   // it answers
	StateFollowing = "following" // it answers, and is some way behind the others
	StateDraining  = "draining"  // it is stopping
	StateSilent    = "silent"    // nothing is heard of it
	// StateQuarantined is of a copy that was found to be wrong: it is folded again and does not
	// answer meanwhile.
	StateQuarantined = "quarantined"
)

// farBehind is how many entries a copy is behind the others when it is called following.
const farBehind = 64

// Mark is what a copy of a partition was at an entry.
type Mark struct {
	Sequence uint64 `json:"sequence"`
	// Base is the entry before the first one in the Merkle tree over the partition's entries, Chain
	// the tree's root, and Digest that of the state, which has the tree in it.
	Base   uint64 `json:"base,omitempty"`
	Chain  string `json:"chain,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Refolded is how often the copy was folded again since its process began, for being wrong.
	Refolded int `json:"refolded,omitempty"`
	// Rules is the number of the rules by which the copy was folded.
	Rules uint64 `json:"rules,omitempty"`
}

// copyBeat is what a node says of its copy of a partition.
type copyBeat struct {
	Applied     uint64 `json:"applied"`
	Quarantined bool   `json:"quarantined,omitempty"`
	// Compare is the entry at which all copies should be compared, if this node is the one to say.
	Compare uint64 `json:"compare,omitempty"`
	Mark    Mark   `json:"mark"`
}

// behind reports whether the copy is far behind the furthest one.
func (c *copyBeat) behind(furthest uint64) bool {
	return furthest > c.Applied && furthest-c.Applied > farBehind
}

// beat is what a node says of itself.
type beat struct {
	Node    string `json:"node"`
	Life    string `json:"life"`
	Log     uint64 `json:"log"`
	Version string `json:"version"`
	State   string `json:"state"`
	Problem string `json:"problem,omitempty"`
	// MinLevel and MaxLevel are the levels of the rules that its program decides by; 0 is said by
	// one that knows none but the first.
	MinLevel uint64     `json:"min_level,omitempty"`
	MaxLevel uint64     `json:"max_level,omitempty"`
	Copies   []copyBeat `json:"copies"`
}

// member is a node as it is known here.
type member struct {
	beat
	heard time.Time
}

// Members are the nodes that are heard of, this one included. Views of different nodes may differ.
type Members struct {
	self func() beat
	name string
	life string
	log  uint64
	bus  Bus

	contested chan struct{} // has one if another process uses the name

	mu    sync.Mutex
	nodes map[string]*member
}

func newMembers(bus Bus, name, life string, log uint64, self func() beat) *Members {
	return &Members{self: self, name: name, life: life, log: log, bus: bus, contested: make(chan struct{}, 1), nodes: map[string]*member{}}
}

// run tells and listens until the context ends.
func (m *Members) run(ctx context.Context) error {
	stop, err := m.bus.Listen(m.receive)
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		m.tell()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Members) tell() {
	b := m.self()
	m.note(b)
	text, err := json.Marshal(b)
	if err == nil {
		_ = m.bus.Tell(m.name, text) // else they notice the silence
	}
}

func (m *Members) receive(text []byte) {
	var b beat
	if json.Unmarshal(text, &b) != nil || b.Log != m.log || b.Node == "" || b.Node == m.name && b.Life == m.life {
		return
	}
	if b.Node == m.name {
		select {
		case m.contested <- struct{}{}:
		default:
		}
		return
	}
	m.note(b)
}

func (m *Members) note(b beat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[b.Node] = &member{b, time.Now()}
}

// list returns the nodes heard of, in the order of their names.
func (m *Members) list() []member {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]member, 0, len(m.nodes))
	for name, n := range m.nodes {
		if time.Since(n.heard) > forgetAfter {
			delete(m.nodes, name)
			continue
		}
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

func (n *member) silent() bool { return time.Since(n.heard) > silentAfter }

// Alive reports whether a process of a node was heard of lately.
func (m *Members) Alive(node, life string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[node]
	return n != nil && n.Life == life && time.Since(n.heard) < goneAfter
}

// forget drops a node that is silent.
func (m *Members) forget(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[node]; n != nil && n.silent() {
		delete(m.nodes, node)
	}
}

// copiesOf are the other nodes that may be asked for a partition. Those that serve and keep up are
// preferred, in the order of [Rank], so that each partition is asked of another node first.
func (m *Members) copiesOf(partition int) (preferred, others []string) {
	nodes, furthest := m.list(), m.furthest(partition)
	for i := range nodes {
		n := &nodes[i]
		if n.Node == m.name || partition >= len(n.Copies) || n.Copies[partition].Quarantined || time.Since(n.heard) > goneAfter {
			continue
		}
		if n.State == StateServing && !n.silent() && !n.Copies[partition].behind(furthest) {
			preferred = append(preferred, n.Node)
		} else {
			others = append(others, n.Node)
		}
	}
	return Rank(partition, preferred), Rank(partition, others)
}

// furthest is the last entry of a partition that a node which is heard of has folded.
func (m *Members) furthest(partition int) (sequence uint64) {
	for _, n := range m.list() {
		if partition < len(n.Copies) && !n.silent() {
			sequence = max(sequence, n.Copies[partition].Applied)
		}
	}
	return sequence
}

// View is the cluster as this node sees it.
type View struct {
	// Node is the one that answers.
	Node  string     `json:"node"`
	Nodes []NodeView `json:"nodes"`
	// RulesLevel is the level of the rules in force in all partitions, as far as this node has
	// folded them.
	RulesLevel uint64          `json:"rules_level"`
	Partitions []PartitionView `json:"partitions"`
}

// NodeView is a node in a [View].
type NodeView struct {
	Node    string `json:"node"`
	State   string `json:"state"`
	Version string `json:"version"`
	// Problem is why it is not ready; empty if nothing is in the way, or it is silent.
	Problem string `json:"problem,omitempty"`
	// Incarnation tells its processes apart.
	Incarnation string `json:"incarnation"`
	// HeardMS is how long ago it was heard of, in milliseconds.
	HeardMS int64 `json:"heard_ms"`
	// MaxRulesLevel is the highest level of the rules that its program decides by.
	MaxRulesLevel uint64 `json:"max_rules_level"`
}

// PartitionView is a partition in a [View].
type PartitionView struct {
	Partition int `json:"partition"`
	// Compared is the last entry at which all copies of serving nodes were found to be the same.
	Compared uint64 `json:"compared"`
	// Snapshot is the newest one of the state, as JSON; nil for none. It is for others to set.
	Snapshot any        `json:"snapshot,omitempty"`
	Copies   []CopyView `json:"copies"`
}

// CopyView is a copy of a partition. Chain and digest are of the entry Sequence; Applied is how far
// the copy has folded since.
type CopyView struct {
	Node     string `json:"node"`
	State    string `json:"state"`
	Sequence uint64 `json:"sequence"`
	Chain    string `json:"chain"`
	Digest   string `json:"digest"`
	Applied  uint64 `json:"applied"`
}

// view returns the nodes, and the copies of so many partitions.
func (m *Members) view(partitions int) View {
	v := View{Node: m.name, Nodes: []NodeView{}, Partitions: make([]PartitionView, partitions)}
	nodes := m.list()
	for i := range nodes {
		n := &nodes[i]
		state, problem := n.State, n.Problem
		if n.silent() {
			state, problem = StateSilent, ""
		}
		v.Nodes = append(v.Nodes, NodeView{n.Node, state, n.Version, problem, n.Life, time.Since(n.heard).Milliseconds(), max(1, n.MaxLevel)})
	}
	for k := range v.Partitions {
		p := &v.Partitions[k]
		p.Partition, p.Copies = k, []CopyView{}
		var furthest uint64
		for i := range nodes {
			if k < len(nodes[i].Copies) && !nodes[i].silent() {
				furthest = max(furthest, nodes[i].Copies[k].Applied)
			}
		}
		for i := range nodes {
			if k >= len(nodes[i].Copies) {
				continue
			}
			c := &nodes[i].Copies[k]
			state := v.Nodes[i].State
			switch {
			case state == StateSilent:
			case c.Quarantined:
				state = StateQuarantined
			case state == StateServing && c.behind(furthest):
				state = StateFollowing
			}
			p.Copies = append(p.Copies, CopyView{nodes[i].Node, state, c.Mark.Sequence, c.Mark.Chain, c.Mark.Digest, c.Applied})
		}
	}
	return v
}
