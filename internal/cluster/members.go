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

	beatSubject = "receipts.cluster.v1.beat."
)

// States of a node, and of a copy.
const (
	StateStarting  = "starting"  // it has not folded what the log held at its start
	StateServing   = "serving"   // it answers
	StateFollowing = "following" // it answers, and is some way behind the others
	StateDraining  = "draining"  // it is stopping
	StateSilent    = "silent"    // nothing is heard of it
	// StateQuarantined is of a copy that was found to be wrong: it is folded again, or was refused,
	// and does not answer.
	StateQuarantined = "quarantined"
	// StateFetching is of a copy that is not complete yet and does not answer, and StateLeaving of
	// one that answers for a moment yet: others have it.
	StateFetching = "fetching"
	StateLeaving  = "leaving"
)

// Phases of a copy, as its node tells them; empty for one that is there and stays.
const (
	phaseAbsent   = "absent"
	phaseArriving = "arriving"
	phaseLeaving  = "leaving"
)

// farBehind is how many entries a copy is behind the others when it is called following.
const farBehind = 64

// Checksum is what a copy of a partition was at an entry.
type Checksum struct {
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
	// Refused is set with Quarantined if it is not folded again, and Stuck says why.
	Refused bool `json:"refused,omitempty"`
	// Phase is whether it comes or goes, or is not there at all, and Stuck what is in the way.
	Phase string `json:"phase,omitempty"`
	Stuck string `json:"stuck,omitempty"`
	// Level is the level of the rules in force.
	Level uint64 `json:"level,omitempty"`
	// Compare is the entry at which all copies should be compared, if this node is the one to say.
	Compare  uint64   `json:"compare,omitempty"`
	Checksum Checksum `json:"mark"`
}

// serves reports whether it is answered from, if its node can be reached.
func (c *copyBeat) serves() bool { return !c.Quarantined && (c.Phase == "" || c.Phase == phaseLeaving) }

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
	// unheard is set for one of which nothing was heard since this process began, and nothing but
	// the name is known: heard is when it told the bucket something last.
	unheard bool
}

// membership is the nodes that are heard of, this one included, and those that are away. Views of
// different nodes may differ.
type membership struct {
	self func() beat
	name string
	life string
	log  uint64
	bus  Bus

	contested chan struct{} // has one if another process uses the name

	mu    sync.Mutex
	nodes map[string]*member
	// told is when this process told of itself last, and since from when on it has done so without
	// a pause.
	told, since time.Time
}

func newMembers(bus Bus, name, life string, log uint64, self func() beat) *membership {
	return &membership{self: self, name: name, life: life, log: log, bus: bus, contested: make(chan struct{}, 1), nodes: map[string]*member{}}
}

// run tells and listens until the context ends.
func (m *membership) run(ctx context.Context) error {
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

func (m *membership) tell() {
	m.mu.Lock()
	m.since = m.steadyLocked()
	m.told = time.Now()
	m.mu.Unlock()
	b := m.self()
	m.note(b)
	text, err := json.Marshal(b)
	if err == nil {
		_ = m.bus.Tell(m.name, text) // else they notice the silence
	}
}

// steady is from when on this process has run without a pause. To one that stood still all others
// were silent, so their silence counts from then only.
func (m *membership) steady() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steadyLocked()
}

func (m *membership) steadyLocked() time.Time {
	if now := time.Now(); now.Sub(m.told) > silentAfter {
		return now
	}
	return m.since
}

func (m *membership) receive(text []byte) {
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

func (m *membership) note(b beat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[b.Node] = &member{beat: b, heard: time.Now()}
}

// know takes the names of all nodes that were not forgotten, with when each was there last. Of
// those that are silent these are all.
func (m *membership) know(names map[string]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, n := range m.nodes {
		if _, known := names[name]; !known && n.silent() {
			delete(m.nodes, name)
		}
	}
	for name, at := range names {
		if n := m.nodes[name]; n == nil || n.unheard {
			m.nodes[name] = &member{beat: beat{Node: name}, heard: at, unheard: true}
		}
	}
}

// settled waits until this process has run for so long that it would have heard of each node that
// is there.
func (m *membership) settled(ctx context.Context) error {
	for {
		rest := Settle - time.Since(m.steady())
		if rest <= 0 {
			return nil
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// list returns the nodes that are known, in the order of their names.
func (m *membership) list() []member {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]member, 0, len(m.nodes))
	for _, n := range m.nodes {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// copy is what is known of its copy of a partition; nil if it has none.
func (n *member) copy(partition int) *copyBeat {
	if partition >= len(n.Copies) || n.Copies[partition].Phase == phaseAbsent {
		return nil
	}
	return &n.Copies[partition]
}

func (n *member) silent() bool { return n.unheard || time.Since(n.heard) > silentAfter }

// alive reports whether a process of a node was heard of lately.
func (m *membership) alive(node, life string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[node]
	return n != nil && n.Life == life && time.Since(n.heard) < goneAfter
}

// forget drops a node that is silent.
func (m *membership) forget(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[node]; n != nil && n.silent() {
		delete(m.nodes, node)
	}
}

// copiesOf are the other nodes that may be asked for a partition. Those that serve and keep up are
// preferred, in the order of rank, so that each partition is asked of another node first.
func (m *membership) copiesOf(partition int) (preferred, others []string) {
	nodes, furthest := m.list(), m.furthest(partition)
	for i := range nodes {
		n, c := &nodes[i], nodes[i].copy(partition)
		if n.Node == m.name || c == nil || !c.serves() || time.Since(n.heard) > goneAfter {
			continue
		}
		if n.State == StateServing && !n.silent() && c.Phase == "" && !c.behind(furthest) {
			preferred = append(preferred, n.Node)
		} else {
			others = append(others, n.Node)
		}
	}
	return rank(partition, preferred), rank(partition, others)
}

// others are the other nodes that are heard of. What was heard before this process stood still
// counts: to it all others were silent then.
func (m *membership) others() (names []string) {
	steady := m.steady()
	for _, n := range m.list() {
		heard := n.heard
		if steady.After(heard) {
			heard = steady
		}
		if n.Node != m.name && time.Since(heard) < goneAfter {
			names = append(names, n.Node)
		}
	}
	return names
}

// furthest is the last entry of a partition that a node which is heard of has folded.
func (m *membership) furthest(partition int) (sequence uint64) {
	for _, n := range m.list() {
		if c := n.copy(partition); c != nil && !n.silent() {
			sequence = max(sequence, c.Applied)
		}
	}
	return sequence
}

// first is the node of the first name, of those that are heard of and answer for a partition.
func (m *membership) first(partition int) string {
	for _, n := range m.list() {
		if c := n.copy(partition); c != nil && c.serves() && !n.silent() {
			return n.Node
		}
	}
	return ""
}

// level is the level of the rules in force in all of so many partitions, as far as the nodes tell;
// 0 if none does.
func (m *membership) level(partitions int) uint64 {
	lowest, nodes := ^uint64(0), m.list()
	for k := range partitions {
		var level uint64
		for i := range nodes {
			if c := nodes[i].copy(k); c != nil && c.serves() {
				level = max(level, c.Level)
			}
		}
		if level > 0 {
			lowest = min(lowest, level)
		}
	}
	if lowest == ^uint64(0) {
		return 0
	}
	return lowest
}
