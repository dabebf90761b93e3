package cluster

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
)

// view is what a node says of all copies. What it says of other nodes, and of checksums, is of up
// to some beats ago: entries that have come into the log since are not in it.
type view struct{ Partitions []partitionView }

type partitionView struct {
	Partition int
	Copies    []copyView
	Wanted    []string // the nodes that are to have one
}

// sequence is the last entry that some copy has folded.
func (p partitionView) sequence() (last uint64) {
	for _, c := range p.Copies {
		last = max(last, c.Sequence)
	}
	return last
}

type copyView struct {
	Node, Chain, Digest string
	Sequence, Applied   uint64
	State, Stuck        string
}

// state is that of a partition at an entry.
type state struct {
	sequence uint64
	digest   string
}

// same returns the state of each partition if so many nodes have come to the same one, at an entry
// that is at least the one in the list, and no further as far as is known. Copies that differ at
// the same entry are an error.
func (v view) same(nodes int, least map[int]uint64) (states map[int]state, err error) {
	states = map[int]state{}
	settled := true
	for _, p := range v.Partitions {
		at := map[uint64]copyView{}
		for _, c := range p.Copies {
			if c.Digest == "" || c.State == "quarantined" { // which tells why it is
				settled = false
				continue
			}
			other, known := at[c.Sequence]
			if known && (other.Digest != c.Digest || other.Chain != c.Chain) {
				return nil, fmt.Errorf("copies of partition %d differ at entry %d: %+v and %+v", p.Partition, c.Sequence, other, c)
			}
			at[c.Sequence] = c
			settled = settled && c.Sequence == c.Applied && c.Sequence >= least[p.Partition]
			states[p.Partition] = state{c.Sequence, c.Digest}
		}
		settled = settled && len(p.Copies) == nodes && len(at) == 1
	}
	if !settled || len(states) < len(least) {
		return nil, nil
	}
	return states, nil
}

// against compares the states of copies with those that a replay gives, of some of the partitions.
// It is not done if the replay was of other entries; at the same entry, another state is an error.
func against(copies, replay map[int]state) (done bool, err error) {
	done = true
	for k, want := range replay {
		have := copies[k]
		if have.sequence == want.sequence && have.digest != want.digest {
			return false, fmt.Errorf("a replay of partition %d to entry %d has the digest %s, and the copies have %s", k, want.sequence, want.digest, have.digest)
		}
		done = done && have == want
	}
	return done, nil
}

// position reads the header Receiptd-Position.
func position(header string) (at map[int]uint64, err error) {
	at = map[int]uint64{}
	for pair := range strings.SplitSeq(header, ",") {
		partition, sequence, _ := strings.Cut(pair, ":")
		k, err := strconv.Atoi(partition)
		if err != nil {
			return nil, fmt.Errorf("position %q: %w", header, err)
		}
		if at[k], err = strconv.ParseUint(sequence, 10, 64); err != nil {
			return nil, fmt.Errorf("position %q: %w", header, err)
		}
	}
	return at, nil
}

// A state is only compared with others of the same entry. All that a view says may be of before the
// last entries, at all nodes alike: that it is the same everywhere does not make it that of now.
func TestStatesAreComparedAtTheSameEntry(t *testing.T) {
	at := func(copies ...copyView) (v view) {
		v.Partitions = append(v.Partitions, partitionView{Copies: copies})
		return v
	}
	old := copyView{Node: "a", Chain: "c7", Digest: "d7", Sequence: 7, Applied: 7}
	b, c := old, old
	b.Node, c.Node = "b", "c"
	behind, other, none, early := c, c, c, c
	behind.Applied = 8
	other.Digest = "x7"
	none.Digest = ""
	early.Sequence, early.Digest, early.Chain = 6, "d6", "c6"
	for _, test := range []struct {
		name      string
		v         view
		least     uint64
		same, bad bool
	}{
		{"all the same", at(old, b, c), 7, true, false},
		{"older than an entry that is known of", at(old, b, c), 8, false, false},
		{"one is missing", at(old, b), 7, false, false},
		{"one is further", at(old, b, behind), 7, false, false},
		{"one has no checksum", at(old, b, none), 7, false, false},
		{"one was compared elsewhere", at(old, b, early), 6, false, false},
		{"no partition", view{}, 7, false, false},
		{"one differs", at(old, b, other), 7, false, true},
		{"one differs, and is older", at(old, b, other), 8, false, true},
	} {
		if got, err := test.v.same(3, map[int]uint64{0: test.least}); (got != nil) != test.same || (err != nil) != test.bad {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	states, _ := at(old, b, c).same(3, nil)
	for _, test := range []struct {
		replay    state
		done, bad bool
	}{
		{state{7, "d7"}, true, false},
		{state{7, "x7"}, false, true},
		{state{10, "d10"}, false, false},
	} {
		if done, err := against(states, map[int]state{0: test.replay}); done != test.done || (err != nil) != test.bad {
			t.Errorf("against %+v: %v, %v", test.replay, done, err)
		}
	}
	if p, err := position("0:12,3:44"); err != nil || !maps.Equal(p, map[int]uint64{0: 12, 3: 44}) {
		t.Errorf("%v, %v", p, err)
	}
}
