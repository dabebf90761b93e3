package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/copystate"
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
	// ChecksumAt returns what the copy of a partition is at an entry, which the fold has not passed
	// yet; [ErrPassed] if it has. The cost is how long that took once the fold was there.
	ChecksumAt(ctx context.Context, partition int, sequence uint64) (m Checksum, cost time.Duration, err error)
	// Condemn has the state of a partition put aside and folded again from the log.
	Condemn(partition int, reason error) error
	// Refuse has it put aside for good: it answers nothing until it is dropped, or the process
	// ends.
	Refuse(partition int, reason error) error
	// Condemned reports whether it is being folded again, or was refused.
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
	// checksumWait is how long a node waits for its fold to come to the entry to be compared at.
	checksumWait = 5 * time.Second
	// judgeWait is how long copies that differ, of which none has a majority yet, wait for the
	// checksums of others.
	judgeWait = 2 * checksumWait
)

// comparison is what a node knows of comparing its copy of one partition with the others.
type comparison struct {
	mu        sync.Mutex
	compare   uint64 // the entry at which to compare, if it is for this node to say
	seen      uint64 // the position at the last look, to see whether the log stands still
	due       time.Time
	computing uint64 // the entry whose checksum is waited for or being taken; 0 for none
	giveUp    context.CancelFunc
	checksum  Checksum
	agreed    uint64
	refolded  int
	condemn   Checksum // the checksum here when copies were last found to differ; zero for none
	wrong     Checksum // that for which the copy here was put aside; others are told it meanwhile
	// unclear is since when copies differ, and others are to say which is wrong; zero if they do
	// not.
	unclear time.Time
	// same has the processes, by node, whose copies were the same as the one here.
	same map[string]string
	// doubted is set while the copy here was folded again for being wrong, and has not been the
	// same as all others since; refused is why it is not folded once more, empty if it is.
	doubted bool
	refused string
}

// forget is for a copy that is not here.
func (c *comparison) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.giveUp != nil {
		c.giveUp()
	}
	c.compare, c.seen, c.checksum, c.agreed, c.same, c.unclear = 0, 0, Checksum{}, 0, nil, time.Time{}
	c.doubted, c.refused = false, ""
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
		if n.state.CopyState(k) != copystate.Here {
			n.copies[k].forget()
			continue
		}
		n.propose(k, positions[k], nodes)
		if at := n.proposed(k, nodes); at != 0 {
			n.takeChecksum(ctx, k, at, positions[k])
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
	if time.Now().Before(c.due) || position == 0 || c.computing != 0 && c.computing <= position {
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

// takeChecksum has the copy's checksum taken at an entry, in the background. The fold stands at a
// position; another entry that it has not come to is given up for this one, since it may never
// come.
func (n *Node) takeChecksum(ctx context.Context, partition int, at, position uint64) {
	c := &n.copies[partition]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.computing != at && c.computing > position {
		c.giveUp()
	}
	if c.computing != 0 || c.checksum.Sequence == at || n.state.Condemned(partition) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checksumWait)
	c.computing, c.giveUp = at, cancel
	refolded := c.refolded
	n.background.Go(func() {
		defer cancel()
		checksum, cost, err := n.state.ChecksumAt(ctx, partition, at)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.computing = 0
		if err == nil && c.refolded == refolded {
			checksum.Refolded = refolded
			c.checksum, c.wrong = checksum, Checksum{}
			c.due = time.Now().Add(n.comparePause(cost))
		}
	})
}

// comparePause is how long it is from one comparison of a partition to the next.
func (n *Node) comparePause(cost time.Duration) time.Duration {
	here := 0
	for k := range n.copies {
		if n.state.CopyState(k) == copystate.Here {
			here++
		}
	}
	return min(max(compareEvery, time.Duration(compareShare*here)*min(cost, compareLatest)), compareLatest)
}

// judge compares the copy's checksum with those of the others at the same entry. States of other
// rules say nothing about it, as there are while programs are replaced. States in which the tree of
// the log begins elsewhere, that of an earlier version for one, say nothing about it, nor it about
// them: they have other trees by right, and other digests with them. A copy that differs from most
// is wrong. Where no value has a majority of all that serve, the checksums of the others are waited
// for, for some time. Where there is none then, one that was folded again is believed rather than
// one that was not, and else the one of the first name; the other one is folded again, and by then
// the log has said which it is.
func (n *Node) judge(partition int, nodes []member) {
	c := &n.copies[partition]
	c.mu.Lock()
	mine := c.checksum
	c.mu.Unlock()
	if mine.Sequence == 0 || n.state.Condemned(partition) {
		return
	}
	var aside []nodeChecksum // of copies that their nodes have put aside by themselves
	checksums := []nodeChecksum{{n.o.Name, mine}}
	all, missing, disputed := true, 0, false
	for i := range nodes {
		m := &nodes[i]
		if m.Node == n.o.Name {
			continue
		}
		copied := m.copy(partition)
		if copied == nil || !copied.serves() {
			c.differsFrom(m.Node) // until it is compared again
			if copied == nil || !copied.Quarantined || m.silent() {
				continue
			}
			disputed = disputed || !copied.Refused
			if other := copied.Checksum; other.comparable(mine) && other.value() != mine.value() {
				aside = append(aside, nodeChecksum{m.Node, other})
			}
			continue
		}
		if m.silent() {
			continue
		}
		if other := copied.Checksum; other.comparable(mine) {
			checksums = append(checksums, nodeChecksum{m.Node, other})
		} else if m.State == StateServing {
			all = false
			if other.Sequence != mine.Sequence {
				missing++
			}
		}
	}
	wrong, settled := differing(checksums, missing)
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
		c.sameAs(checksums[1:], nodes)
		// While one is being folded again, those that are left may be the wrong ones.
		c.doubted = c.doubted && (disputed || !all || len(checksums) == 1)
		if all {
			c.agreed = max(c.agreed, mine.Sequence)
		}
		wrong = aside
	}
	if len(wrong) == 0 || c.condemn == mine || c.checksum != mine {
		return // there is nothing, or it is known
	}
	c.condemn = mine
	n.divergences.WithLabelValues(fmt.Sprint(partition)).Inc()
	for _, w := range wrong {
		n.o.Logger.Error("a copy of the state differs from the others at the same entry",
			"partition", partition, "entry", mine.Sequence, "node", w.node, "version", versionOf(w.node, nodes),
			"chain", w.Chain, "digest", w.Digest, "here", mine.Digest, "chain_here", mine.Chain)
		if w.node == n.o.Name {
			n.putAside(partition, mine.Sequence)
		}
	}
}

// differsFrom notes that a node's copy is not known to be the same as the one here.
func (c *comparison) differsFrom(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.same, node)
}

// sameAs notes the nodes of checksums that are the same as the one here. It is called with mu held.
func (c *comparison) sameAs(checksums []nodeChecksum, nodes []member) {
	if c.same == nil {
		c.same = map[string]string{}
	}
	for _, m := range checksums {
		for i := range nodes {
			if nodes[i].Node == m.node {
				c.same[m.node] = nodes[i].Life
			}
		}
	}
}

// nodeChecksum is the checksum of a node's copy.
type nodeChecksum struct {
	node string
	Checksum
}

// value is what copies have to have in common.
func (m Checksum) value() [2]string { return [2]string{m.Chain, m.Digest} }

// comparable reports whether two checksums are of the same entry, of trees that begin at the same
// one, and of the same rules: then they are to have the same value.
func (m Checksum) comparable(other Checksum) bool {
	return m.Sequence == other.Sequence && m.Base == other.Base && m.Rules == other.Rules
}

// differing returns the copies that are taken for wrong; none if all are the same. It is settled
// which they are once the checksums that are missing can change nothing about it.
func differing(checksums []nodeChecksum, missing int) (wrong []nodeChecksum, settled bool) {
	votes := map[[2]string]int{}
	for _, m := range checksums {
		votes[m.value()]++
	}
	if len(votes) == 1 {
		return nil, true
	}
	right := checksums[0]
	for _, m := range checksums[1:] {
		switch {
		case 2*votes[right.value()] > len(checksums):
		case 2*votes[m.value()] > len(checksums),
			m.Refolded > right.Refolded,
			m.Refolded == right.Refolded && m.node < right.node:
			right = m
		}
	}
	for _, m := range checksums {
		if m.value() != right.value() {
			wrong = append(wrong, m)
		}
	}
	return wrong, missing == 0 || 2*votes[right.value()] > len(checksums)+missing
}
