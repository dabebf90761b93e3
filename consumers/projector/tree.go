package projector

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// Tree is the Merkle tree of a partition's log as a checkpoint has it. Release it after use.
type Tree struct {
	merkle.Tree
	snap *store.Snapshot
}

// Release lets go of the checkpoint.
func (t Tree) Release() error { return t.snap.Close() }

// Tree returns the tree of a partition as the last checkpoint has it or, if that does not have the
// entry upto, as a checkpoint made now.
func (p *Projector) Tree(partition int, upto uint64) (t Tree, err error) {
	err = p.workers[partition].use(func(g *fold.Generation) error {
		if t, err = treeOf(g.Store.Snapshot()); err != nil || t.Base+t.Size >= upto {
			return err
		}
		if err := t.Release(); err != nil {
			return err
		}
		snap, _, err := g.Snapshot()
		if err != nil {
			return err
		}
		t, err = treeOf(snap)
		return err
	})
	return t, err
}

func treeOf(snap *store.Snapshot) (Tree, error) {
	stored, err := projections.StoredTree(snap.Get)
	if err != nil {
		_ = snap.Close()
	}
	return Tree{stored, snap}, err
}

// StoredLeaves returns the hashes of entries that the states in a directory, which are not open,
// have in the trees of the log; zeros for those that they do not have, or if a state is damaged.
// Close it after use.
func StoredLeaves(dir string) (leaves func(partition int, sequence uint64) merkle.Hash, closeAll func() error) {
	open := map[int]*fold.Generation{}
	trees := map[int]merkle.Tree{}
	leaves = func(partition int, sequence uint64) merkle.Hash {
		tree, known := trees[partition]
		if !known {
			root := partitionDir(dir, partition)
			if _, err := os.Stat(filepath.Join(root, fold.CurrentFile)); err == nil {
				if g, err := fold.OpenCurrent(root, fold.Options{Partition: partition, CacheBytes: 1}); err == nil {
					open[partition] = g
					tree, _ = projections.StoredTree(g.Store.Get)
				}
			}
			trees[partition] = tree
		}
		leaf, err := tree.Leaf(sequence)
		if err != nil {
			return merkle.Hash{}
		}
		return leaf
	}
	return leaves, func() (err error) {
		for _, g := range open {
			err = errors.Join(err, g.Close())
		}
		return err
	}
}

func partitionDir(dir string, partition int) string {
	return filepath.Join(dir, fmt.Sprintf("p%03d", partition))
}

// knownHeads returns the heads that the log of a partition is known to have had.
type knownHeads = func(partition int) ([]merkle.Head, error)

// checkHeads compares the replayed tree with heads that the log is known to have had. Heads of a
// tree that begins elsewhere, or that is larger, say nothing about it.
func (r *replica) checkHeads(snap *store.Snapshot, heads knownHeads, res *PartitionResult) error {
	tree, err := projections.StoredTree(snap.Get)
	if err != nil {
		return err
	}
	if res.Tree, err = tree.Head(tree.Size); err != nil || heads == nil {
		return err
	}
	known, err := heads(r.w.partition)
	if err != nil {
		return err
	}
	for _, want := range known {
		if want.Base != tree.Base || want.Size > tree.Size {
			continue
		}
		have, err := tree.Head(want.Size)
		if err != nil {
			return err
		}
		if have != want {
			res.Rewritten = &want
			return nil
		}
		res.HeadsChecked++
	}
	return nil
}
