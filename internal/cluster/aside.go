package cluster

import (
	"fmt"
	"slices"
)

// putAside has the copy here, which is wrong at an entry, folded again from the log. That mends
// what a disk or a memory has spoilt once. A copy that differs again before it has been the same as
// all others is refused: it would differ once more, since it is the program of this node that
// decides otherwise, or its machine that is at fault, and either is for people to mend. It is
// called with mu of the comparison held.
func (n *Node) putAside(partition int, entry uint64) {
	c := &n.copies[partition]
	reason, aside := fmt.Errorf("it differs from the copies of other nodes at entry %d", entry), n.state.Condemn
	if c.doubted {
		reason = fmt.Errorf("it differs from the copies of other nodes at entry %d, although it was folded again from the log: "+
			"this program, %s, decides otherwise than theirs, or the machine is at fault", entry, n.o.Version)
		c.refused, aside = reason.Error(), n.state.Refuse
	}
	c.refolded++
	c.doubted = true
	c.same = nil
	c.checksum, c.wrong = Checksum{}, c.checksum // the next one is taken of what is folded again
	if err := aside(partition, reason); err != nil {
		n.o.Logger.Error("a wrong copy of the state could not be put aside", "partition", partition, "error", err)
	}
}

// refused is why the copy of a partition here is put aside and not folded again; empty if it is
// not.
func (n *Node) refused(partition int) string {
	c := &n.copies[partition]
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.state.Condemned(partition) {
		return ""
	}
	return c.refused
}

// versionOf is the version of the program of a node; empty if it is not heard of.
func versionOf(node string, nodes []member) string {
	if i := slices.IndexFunc(nodes, func(m member) bool { return m.Node == node }); i >= 0 {
		return nodes[i].Version
	}
	return ""
}
