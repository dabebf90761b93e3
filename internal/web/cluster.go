package web

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Cluster is the nodes on one log, and their copies of the state, as one of them sees it.
type Cluster struct {
	// Node is the one that answers.
	Node string
	// RulesLevel is the level of the rules in force in all partitions.
	RulesLevel uint64
	// Wanted is how many nodes are to fold each partition; 0 = all. Moves are the exceptions.
	Wanted     int
	Moves      []ClusterMove
	Nodes      []ClusterNode
	Partitions []ClusterPartition
}

// ClusterNode is a node. State is starting, serving, draining or silent.
type ClusterNode struct {
	Name, State, Version string
	// Problem is why it is not ready, as far as that is known here.
	Problem string
	// Heard is how long ago it was heard of.
	Heard time.Duration
	// MaxRulesLevel is the highest level of the rules that it knows; 0 if that is not known here.
	MaxRulesLevel uint64
	// Drained is set if it is to have no copies.
	Drained bool
}

// ClusterMove has one node fold a partition in the place of another one.
type ClusterMove struct {
	Partition int
	From, To  string
}

// ClusterPartition is a partition, and its copy on each node that has one.
type ClusterPartition struct {
	Partition int
	// Compared is the last entry at which all copies were found to be the same.
	Compared uint64
	// Wanted are the nodes that are to have one.
	Wanted []string
	Copies []ClusterCopy
}

// ClusterCopy is a copy of a partition. Chain and Digest are of the entry Sequence; Applied is how
// far it has folded since. State is its node's, or fetching, following, leaving or
// quarantined; Stuck is why it has not come or left, or is not folded again.
type ClusterCopy struct {
	Node, State       string
	Sequence, Applied uint64
	Chain, Digest     string
	Stuck             string
}

// clusterView is the cluster for people.
type clusterView struct {
	Cluster
	Nodes  []clusterNode
	Copies []clusterRow
}

type clusterNode struct {
	ClusterNode
	Heard string
	// Here says that it is the one that answers.
	Here bool
}

// clusterRow is a copy of a partition; the first one of each names the partition.
type clusterRow struct {
	ClusterCopy
	Partition string
	First     bool
	Of        int
	Compared  uint64
	Wanted    bool
	Behind    uint64
	// Short are the beginnings of chain and digest; Differs that they are not those of another copy
	// at the same entry.
	ShortChain, ShortDigest string
	Differs                 bool
}

// clusterEvery is how often the page asks for the cluster.
const clusterEvery = 5 * time.Second

func (p *Page) cluster(w http.ResponseWriter, rq *request) {
	c := p.cfg.Cluster()
	v := clusterView{Cluster: c}
	for _, n := range c.Nodes {
		v.Nodes = append(v.Nodes, clusterNode{n, millis(float64(n.Heard.Milliseconds())), n.Name == c.Node})
	}
	for _, part := range c.Partitions {
		var furthest uint64
		at := map[uint64]map[string]bool{} // what chains and digests there are at an entry
		for _, x := range part.Copies {
			furthest = max(furthest, x.Applied)
			if at[x.Sequence] == nil {
				at[x.Sequence] = map[string]bool{}
			}
			if x.Digest != "" {
				at[x.Sequence][x.Digest] = true
			}
		}
		for i, x := range part.Copies {
			v.Copies = append(v.Copies, clusterRow{
				ClusterCopy: x, Partition: fmt.Sprint(part.Partition), First: i == 0, Of: len(part.Copies), Compared: part.Compared, Wanted: slices.Contains(part.Wanted, x.Node),
				Behind: furthest - min(furthest, x.Applied), ShortChain: beginning(x.Chain), ShortDigest: beginning(x.Digest),
				Differs: len(at[x.Sequence]) > 1,
			})
		}
	}
	p.render(w, rq, rendering{http.StatusOK, "cluster", "Cluster", v, clusterEvery})
}

// beginning is enough of a hash to tell it from another one.
func beginning(hash string) string {
	const most = 12
	if len(hash) > most {
		return hash[:most]
	}
	return hash
}
