package projections_test

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// leafOf is the hash of an entry of a test.
func leafOf(sequence uint64) merkle.Hash {
	return merkle.Stored{Sequence: sequence, Time: time.Unix(0, int64(sequence)), Subject: "subject"}.Leaf()
}

// rootOf is the head over leaves, by the definition of RFC 6962.
func rootOf(leaves []merkle.Hash) merkle.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := rootOf(leaves[:k]), rootOf(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// TestCheckpointHasTheTreeOfItsEntries: after any checkpoint and crash the tree is that of the
// entries in the state, at each of its sizes. Where hashes are not known it begins after them, and
// nothing is left of the one before.
func TestCheckpointHasTheTreeOfItsEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := memory{}
		open := func() *projections.Partition {
			part, err := projections.Open(0, state, projections.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return part
		}
		part := open()
		commit := func() {
			c, err := part.Capture()
			if err != nil {
				t.Fatal(err)
			}
			if err := state.commit(c); err != nil {
				t.Fatal(err)
			}
			part.Committed(c)
		}
		var base, committed uint64
		known := []bool{false} // by sequence
		unknown := rapid.SampledFrom([]int{0, 0, 1, 300}).Draw(t, "unknown")
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			n := rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 700)).Draw(t, "entries")
			for range n {
				at, _ := part.Position()
				x := projections.Decoded{Sequence: at + 1, At: 1, Poison: "of a test"}
				if int(x.Sequence) == len(known) {
					known = append(known, unknown == 0 || x.Sequence%uint64(unknown+1) != 0)
				}
				if known[x.Sequence] {
					x.Leaf = leafOf(x.Sequence)
				}
				if _, err := part.Apply(x); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.Bool().Draw(t, "crash") {
				part = open()
			} else {
				commit()
				committed, _ = part.Position()
			}
			tree, err := projections.StoredTree(state.Get)
			if err != nil {
				t.Fatal(err)
			}
			base = committed
			var leaves []merkle.Hash
			for ; base > 0 && known[base]; base-- {
				leaves = append(leaves, leafOf(base))
			}
			slices.Reverse(leaves)
			if len(leaves) == 0 {
				base = 0 // nothing is stored of an empty tree
			}
			if tree.Base != base || tree.Size != uint64(len(leaves)) {
				t.Fatalf("a tree of %d after %d, want %d after %d", tree.Size, tree.Base, len(leaves), base)
			}
			for _, size := range []int{0, len(leaves) / 3, len(leaves) / 2, len(leaves)} {
				if head, err := tree.Head(uint64(size)); err != nil || head.Root != rootOf(leaves[:size]) {
					t.Fatalf("size %d of %d: %v, %v", size, len(leaves), head, err)
				}
			}
			tiles := 0
			for n := len(leaves); n > 0; n /= 256 {
				tiles += (n + 255) / 256
			}
			stored := 0
			_ = state.Scan([]byte("t"), func(key, _ []byte) error {
				if len(key) > 1 {
					stored++
				}
				return nil
			})
			if stored != tiles {
				t.Fatalf("%d tiles are stored of a tree of %d, which has %d", stored, len(leaves), tiles)
			}
		}
	})
}
