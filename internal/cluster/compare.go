package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/presence"
)

// State is the copy of the state that this node has.
type State interface {
	holdings
	// Levels are the levels of the rules in force, of each partition.
	Levels() []uint64
	// Ready returns nil once the folds have caught up with the log.
	Ready() error
	// WaitFor returns once an entry of a partition is folded.
	WaitFor(ctx context.Context, partition int, sequence uint64) error
	// MarkAt returns what the copy of a partition is at an entry, which the fold has not passed
	// yet; [ErrPassed] if it has. The cost is how long that took once the fold was there.
	MarkAt(ctx context.Context, partition int, sequence uint64) (m Mark, cost time.Duration, err error)
	// Condemn has the state of a partition put aside and folded again from the log.
	Condemn(partition int, reason error) error
	// Condemned reports whether it is being folded again.
	Condemned(partition int) bool
	// Durable makes what a partition has folded durable and returns its last entry.
	Durable(partition int) (sequence uint64, err error)
}

// ErrPassed: the fold is past the entry that was asked for.
var ErrPassed = errors.New("cluster: the fold has passed the entry")

const (
	// compareEvery is the least time between two comparisons of a partition. The next one also
	// waits until what the last one cost is the partition's part of a twentieth of the time, which
	// all comparisons of the node together may take.
	compareEvery = 2 * time.Second
	compareShare = 20
	// compareLatest is when the next one is made of a state that is too large for that.
	compareLatest = time.Hour
	// markWait is how long a node waits for its fold to come to the entry to be compared at.
	markWait = 5 * time.Second
	// judgeWait is how long copies that differ, of which none has a majority yet, wait for the
	// marks of others.
	judgeWait = 2 * markWait
)

// comparison is what a node knows of comparing its copy of one partition with the others.
type comparison struct {
	mu       sync.Mutex
	compare  uint64 // the entry at which to compare, if it is for this node to say
	seen     uint64 // the position at the last look, to see whether the log stands still
	due      time.Time
	marking  uint64 // the entry whose mark is waited for or being taken; 0 for none
	giveUp   context.CancelFunc
	mark     Mark
	agreed   uint64
	refolded int
	condemn  Mark // the mark for which the copy was condemned; zero for none
	// unclear is since when copies differ, and others are to say which is wrong; zero if they do
	// not.
	unclear time.Time
	// same has the processes, by node, whose copies were the same as the one here.
	same map[string]string
}

// forget is for a copy that is not here.
func (c *comparison) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.giveUp != nil {
		c.giveUp()
	}
	c.compare, c.seen, c.mark, c.agreed, c.same, c.unclear = 0, 0, Mark{}, 0, nil, time.Time{}
}

// agrees reports whether a node's copy was the same as the one here, since both are there. Copies
// of nothing are the same.
func (n *Node) agrees(partition int, m *member) bool {
	if n.state.Folded()[partition] == 0 {
		return m.Copies[partition].Applied == 0
	}
	c := &n.copies[partition]
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.same[m.Node] == m.Life
}

// compareAll takes the next step in every partition. It is called about as often as
// nodes tell of themselves.
func (n *Node) compareAll(ctx context.Context) {
	positions := n.state.Folded()
	nodes := n.members.list()
	for k := range n.copies {
		if n.state.Presence(k) != presence.Here {
			n.copies[k].forget()
			continue
		}
		n.propose(k, positions[k], nodes)
		if at := n.proposed(k, nodes); at != 0 {
			n.takeMark(ctx, k, at, positions[k])
		}
		n.judge(k, nodes)
	}
}

// propose decides at which entry to compare next: the last one if the log stands still, else one
// that all folds come to soon.
func (n *Node) propose(partition int, position uint64, nodes []member) {
	c := &n.copies[partition]
	c.mu.Lock()
	defer c.mu.Unlock()
	still := position == c.seen
	grown := position - min(position, c.seen)
	c.seen = position
	if time.Now().Before(c.due) || position == 0 || c.marking != 0 && c.marking <= position {
		return
	}
	if still { // even if it was compared there: a copy may have come since, and is to be, too
		c.compare = position
		return
	}
	if c.compare > position {
		return // it is on its way
	}
	// Ahead of the furthest of the others, by what comes in some beats.
	ahead := position
	for i := range nodes {
		if c := nodes[i].copy(partition); c != nil && !nodes[i].silent() {
			ahead = max(ahead, c.Applied)
		}
	}
	c.compare = ahead + max(1, 3*grown)
}

// proposed is the entry that the node says that is to say: the one of the first name that serves.
func (n *Node) proposed(partition int, nodes []member) uint64 {
	for i := range nodes {
		m, c := &nodes[i], nodes[i].copy(partition)
		if m.silent() || m.State != StateServing || c == nil || !c.serves() {
			continue
		}
		if m.Node == n.o.Name {
			c := &n.copies[partition]
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.compare
		}
		return c.Compare
	}
	return 0
}

// takeMark has the copy's mark taken at an entry, in the background. The fold stands at a position;
// another entry that it has not come to is given up for this one, since it may never come.
func (n *Node) takeMark(ctx context.Context, partition int, at, position uint64) {
	c := &n.copies[partition]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.marking != at && c.marking > position {
		c.giveUp()
	}
	if c.marking != 0 || c.mark.Sequence == at || n.state.Condemned(partition) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markWait)
	c.marking, c.giveUp = at, cancel
	refolded := c.refolded
	n.background.Go(func() {
		defer cancel()
		mark, cost, err := n.state.MarkAt(ctx, partition, at)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.marking = 0
		if err == nil && c.refolded == refolded {
			mark.Refolded = refolded
			c.mark = mark
			c.due = time.Now().Add(n.comparePause(cost))
		}
	})
}

// comparePause is how long it is from one comparison of a partition to the next.
func (n *Node) comparePause(cost time.Duration) time.Duration {
	here := 0
	for k := range n.copies {
		if n.state.Presence(k) == presence.Here {
			here++
		}
	}
	return min(max(compareEvery, time.Duration(compareShare*here)*min(cost, compareLatest)), compareLatest)
}

// judge compares the copy's mark with those of the others at the same entry. States of other rules
// say nothing about it, as there are while programs are replaced. States in which the
// tree of the log begins elsewhere, that of an earlier version for one, say nothing about it, nor
// it about them: they have other trees by right, and other digests with them. A copy that differs
// from most is wrong. Where no value has a majority of all that serve, the marks of the others are
// waited for, for some time. Where there is none then, one that was folded again is believed rather
// than one that was not, and else the one of the first name; the other one is folded again, and by
// then the log has said which it is.
func (n *Node) judge(partition int, nodes []member) {
	c := &n.copies[partition]
	c.mu.Lock()
	mine := c.mark
	c.mu.Unlock()
	if mine.Sequence == 0 || n.state.Condemned(partition) {
		return
	}
	marks := []markOf{{n.o.Name, mine}}
	all, missing := true, 0
	for i := range nodes {
		m := &nodes[i]
		copied := m.copy(partition)
		if copied == nil || !copied.serves() {
			c.differsFrom(m.Node) // until it is compared again
			continue
		}
		if m.Node == n.o.Name || m.silent() {
			continue
		}
		if other := copied.Mark; other.Sequence == mine.Sequence && other.Base == mine.Base && other.Rules == mine.Rules {
			marks = append(marks, markOf{m.Node, other})
		} else if m.State == StateServing {
			all = false
			if other.Sequence != mine.Sequence {
				missing++
			}
		}
	}
	wrong, settled := differing(marks, missing)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !settled {
		if c.unclear.IsZero() {
			c.unclear = time.Now()
		}
		if time.Since(c.unclear) < judgeWait {
			return
		}
	}
	c.unclear = time.Time{}
	if len(wrong) == 0 {
		c.sameAs(marks[1:], nodes)
		if all {
			c.agreed = max(c.agreed, mine.Sequence)
		}
		return
	}
	if c.condemn == mine || c.mark != mine {
		return // that is known
	}
	c.condemn = mine
	n.divergences.WithLabelValues(fmt.Sprint(partition)).Inc()
	for _, w := range wrong {
		n.o.Logger.Error("a copy of the state differs from the others at the same entry",
			"partition", partition, "entry", mine.Sequence, "node", w.node, "chain", w.Chain, "digest", w.Digest, "here", mine.Digest, "chain_here", mine.Chain)
		if w.node != n.o.Name {
			continue
		}
		c.refolded++
		c.same = nil
		c.mark = Mark{} // the next one is taken of what is folded again
		reason := fmt.Errorf("it differs from the copies of other nodes at entry %d", mine.Sequence)
		if err := n.state.Condemn(partition, reason); err != nil {
			n.o.Logger.Error("a wrong copy of the state could not be put aside", "partition", partition, "error", err)
		}
	}
}

// differsFrom notes that a node's copy is not known to be the same as the one here.
func (c *comparison) differsFrom(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.same, node)
}

// sameAs notes the nodes of marks that are the same as the one here. It is called with mu held.
func (c *comparison) sameAs(marks []markOf, nodes []member) {
	if c.same == nil {
		c.same = map[string]string{}
	}
	for _, m := range marks {
		for i := range nodes {
			if nodes[i].Node == m.node {
				c.same[m.node] = nodes[i].Life
			}
		}
	}
}

// markOf is the mark of a node's copy.
type markOf struct {
	node string
	Mark
}

func (m markOf) value() [2]string { return [2]string{m.Chain, m.Digest} }

// differing returns the copies that are taken for wrong; none if all are the same. It is settled
// which they are once the marks that are missing can change nothing about it.
func differing(marks []markOf, missing int) (wrong []markOf, settled bool) {
	votes := map[[2]string]int{}
	for _, m := range marks {
		votes[m.value()]++
	}
	if len(votes) == 1 {
		return nil, true
	}
	right := marks[0]
	for _, m := range marks[1:] {
		switch {
		case 2*votes[right.value()] > len(marks):
		case 2*votes[m.value()] > len(marks),
			m.Refolded > right.Refolded,
			m.Refolded == right.Refolded && m.node < right.node:
			right = m
		}
	}
	for _, m := range marks {
		if m.value() != right.value() {
			wrong = append(wrong, m)
		}
	}
	return wrong, missing == 0 || 2*votes[right.value()] > len(marks)+missing
}
