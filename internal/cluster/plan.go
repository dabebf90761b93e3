package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// planKey has the [Plan] in the bucket, and copiesPrefix begins the keys of the partitions'
// records.
const (
	planKey      = "placement"
	copiesPrefix = "copies."
)

// Plan says how the copies of the partitions are to be spread over the nodes. There is one for the
// cluster, in the bucket; whoever changes it does so by compare-and-set.
type Plan struct {
	// Copies is how many nodes are to fold each partition; 0 = all. Chosen is set once a node's
	// flag, or a command, has said so: flags of nodes that start later change nothing.
	Copies int  `json:"copies"`
	Chosen bool `json:"chosen,omitempty"`
	// Nodes are those that take part, and were not forgotten.
	Nodes []string `json:"nodes"`
	// Drained are nodes that are to have no copies.
	Drained []string `json:"drained,omitempty"`
	// Moves are exceptions from what [spread] says.
	Moves []Move `json:"moves,omitempty"`
}

// Move has one node fold a partition in the place of another one.
type Move struct {
	Partition int    `json:"partition"`
	From      string `json:"from"`
	To        string `json:"to"`
}

// Everywhere reports whether every node is to fold everything.
func (p *Plan) Everywhere() bool { return p.Copies == 0 && len(p.Drained) == 0 && len(p.Moves) == 0 }

// wanted are the nodes that are to fold each of the partitions, of those that can.
func (p *Plan) wanted(partitions int, can []string) [][]string {
	copies := len(can)
	if p.Copies > 0 {
		copies = min(p.Copies, copies)
	}
	all := spread(partitions, copies, can)
	for _, m := range p.Moves {
		if m.Partition < 0 || m.Partition >= partitions {
			continue
		}
		list := all[m.Partition]
		i := slices.Index(list, m.From)
		if i >= 0 && slices.Contains(can, m.To) && !slices.Contains(list, m.To) {
			list[i] = m.To
		}
	}
	return all
}

// enough is how many others have to have a copy for one to leave, if so many can.
func (p *Plan) enough(can []string) int {
	need := max(1, len(can))
	if p.Copies > 0 {
		need = min(p.Copies, need)
	}
	return need
}

// Register is where nodes agree. [Bucket] is one.
type Register interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
}

// change changes the JSON of a key by compare-and-set, as often as it takes. f reports whether
// there is something to change, from what is there now; the zero value if there is nothing.
func change[V any](ctx context.Context, r Register, key string, f func(*V) (bool, error)) (now V, err error) {
	for {
		var v V
		text, revision, err := r.Get(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return v, err
		default:
			if err := json.Unmarshal(text, &v); err != nil {
				return v, fmt.Errorf("cluster: %s: %w", key, err)
			}
		}
		changed, err := f(&v)
		if err != nil || !changed {
			return v, err
		}
		if text, err = json.Marshal(v); err != nil {
			return v, fmt.Errorf("cluster: %s: %w", key, err)
		}
		if revision == 0 {
			_, err = r.Create(ctx, key, text)
		} else {
			_, err = r.Update(ctx, key, text, revision)
		}
		if !errors.Is(err, ErrConflict) {
			return v, err
		}
	}
}

// Join notes that a node takes part, and how many copies it wants if nobody has said so yet; 0 for
// no opinion. It returns the plan that is in force.
func Join(ctx context.Context, r Register, node string, copies int) (Plan, error) {
	return change(ctx, r, planKey, func(p *Plan) (changed bool, err error) {
		if !slices.Contains(p.Nodes, node) {
			p.Nodes, changed = append(p.Nodes, node), true
			slices.Sort(p.Nodes)
		}
		if copies > 0 && !p.Chosen {
			p.Copies, p.Chosen, changed = copies, true, true
		}
		return changed, nil
	})
}

// readPlan returns the plan that is in force.
func readPlan(ctx context.Context, r Register) (Plan, error) {
	return change(ctx, r, planKey, func(*Plan) (bool, error) { return false, nil })
}

// errUnknown and errLast are why a plan cannot be made. ErrRefused is in all of them.
var (
	// ErrRefused is in the error of a change of the plan that makes no sense.
	ErrRefused = errors.New("cluster: refused")
	errLast    = fmt.Errorf("%w: no node would be left that is to have copies", ErrRefused)
)

// SetCopies says how many nodes are to fold each partition; 0 = all.
func (n *Node) SetCopies(ctx context.Context, copies int) error {
	if copies < 0 {
		return fmt.Errorf("%w: %d copies", ErrRefused, copies)
	}
	return n.changePlan(ctx, func(p *Plan) (bool, error) {
		changed := p.Copies != copies || !p.Chosen
		p.Copies, p.Chosen = copies, true
		return changed, nil
	})
}

// Drain has a node have no copies: they are folded elsewhere first, and the node goes on serving
// its users. It stays so until Undrain, whatever becomes of its process. The error is [ErrNotFound]
// for a node that is not known, and [ErrRefused] for the last one.
func (n *Node) Drain(ctx context.Context, node string) error {
	return n.changePlan(ctx, func(p *Plan) (bool, error) {
		switch {
		case !slices.Contains(p.Nodes, node):
			return false, ErrNotFound
		case slices.Contains(p.Drained, node):
			return false, nil
		}
		p.Drained = append(p.Drained, node)
		slices.Sort(p.Drained)
		if len(p.Drained) >= len(p.Nodes) {
			return false, errLast
		}
		return true, nil
	})
}

// Undrain has a node have its share of the copies again.
func (n *Node) Undrain(ctx context.Context, node string) error {
	return n.changePlan(ctx, func(p *Plan) (bool, error) {
		i := slices.Index(p.Drained, node)
		if i < 0 {
			return false, ErrNotFound
		}
		p.Drained = slices.Delete(p.Drained, i, i+1)
		return true, nil
	})
}

// MoveCopy has one node fold a partition in the place of another one, until DropMove. The error is
// [ErrNotFound] for nodes that are not known, and [ErrRefused] for a copy that the one does not
// have, or that the other one has already.
func (n *Node) MoveCopy(ctx context.Context, m Move) error {
	if m.Partition < 0 || m.Partition >= len(n.copies) {
		return fmt.Errorf("%w: there is no partition %d", ErrRefused, m.Partition)
	}
	return n.changePlan(ctx, func(p *Plan) (bool, error) {
		if !slices.Contains(p.Nodes, m.From) || !slices.Contains(p.Nodes, m.To) {
			return false, ErrNotFound
		}
		can := n.reconciler.can(p)
		list := p.wanted(len(n.copies), can)[m.Partition]
		switch {
		case !slices.Contains(list, m.From):
			return false, fmt.Errorf("%w: %s is not to have partition %d; %v are", ErrRefused, m.From, m.Partition, list)
		case slices.Contains(list, m.To):
			return false, fmt.Errorf("%w: %s is to have partition %d already", ErrRefused, m.To, m.Partition)
		case !slices.Contains(can, m.To):
			return false, fmt.Errorf("%w: %s is drained or gone", ErrRefused, m.To)
		}
		p.Moves = append(p.Moves, m)
		return true, nil
	})
}

// DropMove drops the exceptions for a partition. The error is [ErrNotFound] if there are none.
func (n *Node) DropMove(ctx context.Context, partition int) error {
	return n.changePlan(ctx, func(p *Plan) (bool, error) {
		before := len(p.Moves)
		p.Moves = slices.DeleteFunc(p.Moves, func(m Move) bool { return m.Partition == partition })
		if len(p.Moves) == before {
			return false, ErrNotFound
		}
		return true, nil
	})
}

func (n *Node) changePlan(ctx context.Context, f func(*Plan) (bool, error)) error {
	p, err := change(ctx, n.o.Register, planKey, f)
	if err == nil {
		n.reconciler.know(p)
	}
	return err
}

// without is the plan without a node.
func (p *Plan) without(node string) (changed bool) {
	drop := func(list []string) []string {
		return slices.DeleteFunc(list, func(x string) bool { return x == node })
	}
	before := len(p.Nodes) + len(p.Drained) + len(p.Moves)
	p.Nodes, p.Drained = drop(p.Nodes), drop(p.Drained)
	p.Moves = slices.DeleteFunc(p.Moves, func(m Move) bool { return m.From == node || m.To == node })
	return len(p.Nodes)+len(p.Drained)+len(p.Moves) != before
}

// record are the nodes that vouch for their copies of a partition: none of them lets go of its copy
// before it has taken itself off the record.
type record struct {
	Nodes []string `json:"nodes"`
}

func recordKey(partition int) string { return copiesPrefix + strconv.Itoa(partition) }

// vouch puts a node on the record of a partition.
func vouch(ctx context.Context, r Register, partition int, node string) error {
	_, err := change(ctx, r, recordKey(partition), func(x *record) (bool, error) {
		if slices.Contains(x.Nodes, node) {
			return false, nil
		}
		x.Nodes = append(x.Nodes, node)
		slices.Sort(x.Nodes)
		return true, nil
	})
	return err
}

// errNeeded is why a copy stays.
var errNeeded = errors.New("cluster: too few others vouch for their copies")

// letGo takes a node off the record of a partition, if of the others on it so many are good. The
// error is errNeeded if they are fewer. It always writes: of two that let go at a time, the
// later one sees that the other one is no longer there.
func letGo(ctx context.Context, r Register, partition int, node string, others int, good func(node string) bool) error {
	_, err := change(ctx, r, recordKey(partition), func(x *record) (bool, error) {
		x.Nodes = slices.DeleteFunc(x.Nodes, func(name string) bool { return name == node })
		count := 0
		for _, name := range x.Nodes {
			if good(name) {
				count++
			}
		}
		if count < others {
			return false, errNeeded
		}
		return true, nil
	})
	return err
}
