package notary

import (
	"context"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/merkle"
)

// Checkpoint returns the signed head of a partition's tree at a size; 0 = the latest. The error is
// [merkle.ErrOutside] if there is no such head, or none yet.
func (n *Notary) Checkpoint(partition int, size uint64) (signed string, err error) {
	err = n.with(partition, func(tree projector.Tree, latest merkle.Head) error {
		signed, err = n.signedAt(partition, tree, latest, size)
		return err
	})
	return signed, err
}

// Consistency returns the proof between two sizes of a partition's tree; to = 0 is the latest.
func (n *Notary) Consistency(partition int, from, to uint64) (c merkle.Consistency, err error) {
	err = n.with(partition, func(tree projector.Tree, latest merkle.Head) (err error) {
		if to == 0 {
			to = latest.Size
		}
		if c.From, err = n.signedAt(partition, tree, latest, from); err != nil {
			return err
		}
		if c.To, err = n.signedAt(partition, tree, latest, to); err != nil {
			return err
		}
		c.Proof, err = tree.ProveConsistency(from, to)
		return err
	})
	c.Proof = append([]merkle.Hash{}, c.Proof...)
	return c, err
}

// Inclusion returns the proof that an entry is under the head of a size; 0 = the latest.
func (n *Notary) Inclusion(partition int, sequence, size uint64) (i merkle.Inclusion, err error) {
	i.Sequence = sequence
	err = n.with(partition, func(tree projector.Tree, latest merkle.Head) (err error) {
		if size == 0 {
			size = latest.Size
		}
		if i.Checkpoint, err = n.signedAt(partition, tree, latest, size); err != nil {
			return err
		}
		if i.Leaf, err = tree.Leaf(sequence); err == nil {
			i.Path, err = tree.ProveEntry(sequence, size)
		}
		return err
	})
	i.Path = append([]merkle.Hash{}, i.Path...)
	return i, err
}

// with calls f with a tree and the largest head of it that may be signed.
func (n *Notary) with(partition int, f func(tree projector.Tree, latest merkle.Head) error) error {
	if partition < 0 || partition >= len(n.trees) {
		return fmt.Errorf("%w: no partition %d", merkle.ErrOutside, partition)
	}
	tree, err := n.o.State.Tree(partition, 0)
	if err != nil {
		return err
	}
	defer tree.Release()
	latest, err := n.check(partition, tree)
	if err != nil {
		return err
	}
	if latest.Size == 0 {
		return fmt.Errorf("%w: partition %d has no head yet", merkle.ErrOutside, partition)
	}
	return f(tree, latest)
}

func (n *Notary) signedAt(partition int, tree projector.Tree, latest merkle.Head, size uint64) (string, error) {
	head := latest
	if size > 0 && size != latest.Size {
		if size > latest.Size {
			return "", fmt.Errorf("%w: size %d, the latest head has %d", merkle.ErrOutside, size, latest.Size)
		}
		var err error
		if head, err = tree.Head(size); err != nil {
			return "", err
		}
	}
	return n.sign(partition, head)
}

// settle waits until an entry is in the last checkpoint and certainly on the disk.
func (n *Notary) settle(ctx context.Context, partition int, sequence uint64) error {
	for {
		tree, err := n.o.State.Tree(partition, sequence)
		if err != nil {
			return err
		}
		if err := tree.Release(); err != nil {
			return err
		}
		if last, _ := n.o.Log.Attested(partition); last >= sequence {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
