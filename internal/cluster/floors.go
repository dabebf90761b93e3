package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/internal/copystate"
)

const (
	// floorPrefix begins the keys under which nodes say what they no longer need of the log. Who
	// has one is a node of the cluster, until it is forgotten.
	floorPrefix = "floor."
	// floorMax is how often they do at least.
	floorMax = 30 * time.Second
	// namesEvery is how often a node reads who else is a node. Whoever comes is heard of before
	// that; only those that are away are known by it.
	namesEvery = 5 * time.Second
)

func (o *Options) floorEvery() time.Duration {
	if o.FloorEvery == 0 {
		return floorMax
	}
	return min(o.FloorEvery, floorMax)
}

// KeepFloor says in the bucket what this node needs of the log: what comes after that which its
// folds have durably, all of a partition that it is about to fold, and nothing of one that it does
// not fold, or not until the next start, where there are snapshots to begin from.
func (n *Node) KeepFloor(ctx context.Context) error {
	floor := make([]uint64, len(n.copies))
	for k := range floor {
		if !n.reconciler.needs(k) || n.refused(k) != "" {
			if n.o.Snapshots {
				floor[k] = ^uint64(0)
			}
			continue
		}
		if n.state.CopyState(k) == copystate.Absent {
			continue
		}
		at, err := n.state.Durable(k)
		if err != nil {
			return err // being rebuilt, for one: it reads the log
		}
		floor[k] = at
	}
	return n.putFloor(ctx, floor)
}

func (n *Node) putFloor(ctx context.Context, floor []uint64) error {
	text, err := json.Marshal(floor)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return n.o.Bucket.Put(ctx, floorPrefix+n.o.Name, text)
}

// Floor is the last entry of a partition that no node needs again. Every node counts that ever took
// part, whether or not it is heard of, until it is forgotten ([Node.Forget]).
func (n *Node) Floor(ctx context.Context, partition int) (uint64, error) {
	all, err := n.o.Bucket.Keys(ctx, floorPrefix)
	if err != nil {
		return 0, err
	}
	low := ^uint64(0)
	for key, text := range all {
		at, ok := parseFloor(text, partition)
		if !ok {
			return 0, fmt.Errorf("cluster: %s is no floor: %s", key, text)
		}
		low = min(low, at)
	}
	if len(all) == 0 {
		return 0, nil
	}
	return low, nil
}

// parseFloor reads how far a node's fold of a partition is durable. It needs all of one that there
// was not yet when it was there last.
func parseFloor(text []byte, partition int) (at uint64, ok bool) {
	var floor []uint64
	if json.Unmarshal(text, &floor) != nil {
		return 0, false
	}
	if partition >= len(floor) {
		return 0, true
	}
	return floor[partition], true
}

// Nodes are the names of all nodes that ever were, but for those that were forgotten, in order.
func Nodes(ctx context.Context, bucket *Bucket) (names []string, err error) {
	all, err := bucket.Keys(ctx, floorPrefix)
	for key := range all {
		names = append(names, strings.TrimPrefix(key, floorPrefix))
	}
	slices.Sort(names)
	return names, err
}

// learn reads which nodes there are, and when each said last what it needs of the log.
func (n *Node) learn(ctx context.Context) (names map[string]time.Time, err error) {
	n.naming.Lock()
	defer n.naming.Unlock()
	floors, err := n.o.Bucket.putTimes(ctx, floorPrefix)
	if err != nil {
		return nil, err
	}
	names = make(map[string]time.Time, len(floors))
	for key, at := range floors {
		names[strings.TrimPrefix(key, floorPrefix)] = at
	}
	n.members.know(names)
	return names, nil
}

// Forget drops a node that will not come back: entries that only it needed may leave the log, and
// its NATS server, if it had one of its own, is no member of the servers' cluster any more. The
// error is [ErrConflict] for one that is heard of. A process that has just begun waits until it
// would have heard.
func (n *Node) Forget(ctx context.Context, node string) error {
	if err := n.members.settled(ctx); err != nil {
		return err
	}
	for _, m := range n.members.list() {
		if m.Node == node && !m.silent() {
			return fmt.Errorf("%w: %s is alive", ErrConflict, node)
		}
	}
	if _, _, err := n.o.Bucket.Get(ctx, floorPrefix+node); err != nil {
		return err
	}
	// First, and again if the rest fails: until it is done the node is known.
	if err := n.o.Log.ForgetPeer(ctx, node); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := n.changePlan(ctx, func(p *Plan) (bool, error) { return p.without(node), nil }); err != nil {
		return err
	}
	if err := n.o.Bucket.Delete(ctx, lifePrefix+node); err != nil {
		return err
	}
	n.naming.Lock()
	defer n.naming.Unlock()
	if err := n.o.Bucket.Delete(ctx, floorPrefix+node); err != nil {
		return err
	}
	n.members.forget(node)
	return nil
}
