package cluster

import (
	"time"
)

// View is the cluster as this node sees it.
type View struct {
	// Node is the one that answers.
	Node  string     `json:"node"`
	Nodes []NodeView `json:"nodes"`
	// RulesLevel is the level of the rules in force in all partitions, as far as this node has
	// folded them.
	RulesLevel uint64 `json:"rules_level"`
	// Copies is how many nodes are to fold each partition; 0 = all. Moves are the exceptions.
	Copies     int             `json:"copies"`
	Moves      []Move          `json:"moves,omitempty"`
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
	// HeardMS is how long ago it was heard of, in milliseconds. Of one that is silent since before
	// the process that answers began, it is since it told the bucket last what it needs of the log.
	// Version and incarnation are not known then.
	HeardMS int64 `json:"heard_ms"`
	// MaxRulesLevel is the highest level of the rules that its program decides by; 0 if that is not
	// known.
	MaxRulesLevel uint64 `json:"max_rules_level"`
	// Drained is set if it is to have no copies.
	Drained bool `json:"drained,omitempty"`
}

// PartitionView is a partition in a [View].
type PartitionView struct {
	Partition int `json:"partition"`
	// Compared is the last entry at which all copies of serving nodes were found to be the same.
	Compared uint64 `json:"compared"`
	// Snapshot is the newest one of the state, as JSON; nil for none. It is for others to set.
	Snapshot any `json:"snapshot,omitempty"`
	// Wanted are the nodes that are to fold it, as far as this one knows, first the one that is
	// preferred.
	Wanted []string   `json:"wanted"`
	Copies []CopyView `json:"copies"`
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
	// Stuck is why it has not come, or not left, although it is to, or is not folded again.
	Stuck string `json:"stuck,omitempty"`
}

// view returns the nodes, and the copies of so many partitions.
func (m *membership) view(partitions int) View {
	v := View{Node: m.name, Nodes: []NodeView{}, Partitions: make([]PartitionView, partitions)}
	nodes := m.list()
	for i := range nodes {
		n := &nodes[i]
		state, problem, level := n.State, n.Problem, max(1, n.MaxLevel)
		if n.silent() {
			state, problem = StateSilent, ""
		}
		if n.unheard {
			level = 0
		}
		v.Nodes = append(v.Nodes, NodeView{
			Node: n.Node, State: state, Version: n.Version, Problem: problem, Incarnation: n.Life,
			HeardMS: max(0, time.Since(n.heard).Milliseconds()), MaxRulesLevel: level,
		})
	}
	for k := range v.Partitions {
		p := &v.Partitions[k]
		p.Partition, p.Copies = k, []CopyView{}
		var furthest uint64
		for i := range nodes {
			if c := nodes[i].copy(k); c != nil && !nodes[i].silent() {
				furthest = max(furthest, c.Applied)
			}
		}
		for i := range nodes {
			c := nodes[i].copy(k)
			if c == nil {
				continue
			}
			state := v.Nodes[i].State
			switch {
			case state == StateSilent:
			case c.Quarantined:
				state = StateQuarantined
			case c.Phase == phaseArriving:
				state = StateFetching
			case c.Phase == phaseLeaving:
				state = StateLeaving
			case state == StateServing && c.behind(furthest):
				state = StateFollowing
			}
			p.Copies = append(p.Copies, CopyView{nodes[i].Node, state, c.Checksum.Sequence, c.Checksum.Chain, c.Checksum.Digest, c.Applied, c.Stuck})
		}
	}
	return v
}
