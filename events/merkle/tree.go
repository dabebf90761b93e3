package merkle

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrOutside is returned for an entry or a size that a tree does not have.
var ErrOutside = errors.New("merkle: not in the tree")

// Head stands for a tree at a size.
type Head struct {
	// Base is the sequence before the entry of the first leaf: 0, unless the tree began with a log
	// whose earlier entries were not known. Trees with another base are other trees.
	Base uint64 `json:"base,omitempty"`
	// Size is how many entries are under the head: those from Base+1 to Base+Size.
	Size uint64 `json:"size"`
	// Root is the hash over all of them.
	Root Hash `json:"root"`
}

// Position is the sequence of the last entry under the head.
func (h Head) Position() uint64 { return h.Base + h.Size }

// Tree answers questions about a tree whose tiles are stored, at its size and at any one before.
type Tree struct {
	Base, Size uint64
	Tiles      Tiles
}

// Head is the head that the tree had at a size. The error says so if it never had that size.
func (t Tree) Head(size uint64) (Head, error) {
	if size > t.Size {
		return Head{}, fmt.Errorf("%w: size %d of a tree of %d", ErrOutside, size, t.Size)
	}
	root, err := tlog.TreeHash(int64(size), t)
	return Head{Base: t.Base, Size: size, Root: root}, err
}

// Leaf is the hash of the entry with a sequence.
func (t Tree) Leaf(sequence uint64) (Hash, error) {
	n, err := t.index(sequence, t.Size)
	if err != nil {
		return Hash{}, err
	}
	hashes, err := t.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
	if err != nil {
		return Hash{}, err
	}
	return hashes[0], nil
}

// index is the number of the leaf of an entry, in a tree of a size.
func (t Tree) index(sequence, size uint64) (int64, error) {
	if sequence <= t.Base || sequence > t.Base+size {
		return 0, fmt.Errorf("%w: entry %d, it has entries %d to %d", ErrOutside, sequence, t.Base+1, t.Base+size)
	}
	return int64(sequence - t.Base - 1), nil
}

// ProveEntry returns the path from the entry with a sequence to the head of a size.
func (t Tree) ProveEntry(sequence, size uint64) ([]Hash, error) {
	if size > t.Size {
		return nil, fmt.Errorf("%w: size %d of a tree of %d", ErrOutside, size, t.Size)
	}
	n, err := t.index(sequence, size)
	if err != nil {
		return nil, err
	}
	return tlog.ProveRecord(int64(size), n, t)
}

// ProveConsistency returns what proves that the head of one size is a later one than that of
// another: that nothing was changed, only added.
func (t Tree) ProveConsistency(from, to uint64) ([]Hash, error) {
	if from < 1 || from > to || to > t.Size {
		return nil, fmt.Errorf("%w: from size %d to %d of a tree of %d", ErrOutside, from, to, t.Size)
	}
	return tlog.ProveTree(int64(to), int64(from), t)
}

// checkEntry checks a path of [Tree.ProveEntry].
func checkEntry(path []Hash, head Head, sequence uint64, leaf Hash) error {
	n, err := (Tree{Base: head.Base}).index(sequence, head.Size)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, int64(head.Size), head.Root, n, leaf)
}

// CheckConsistency checks a proof of [Tree.ProveConsistency].
func CheckConsistency(proof []Hash, from, to Head) error {
	if from.Base != to.Base {
		return fmt.Errorf("merkle: heads of two trees, which begin after entries %d and %d", from.Base, to.Base)
	}
	return tlog.CheckTree(proof, int64(to.Size), to.Root, int64(from.Size), from.Root)
}

// ReadHashes implements [tlog.HashReader].
func (t Tree) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		stored, err := t.Tiles(tile.L, uint64(tile.N))
		if err == nil {
			hashes[i], err = tlog.HashFromTile(tile, stored, index)
		}
		if err != nil {
			return nil, fmt.Errorf("merkle: read tile %d of level %d: %w", tile.N, tile.L, err)
		}
	}
	return hashes, nil
}
