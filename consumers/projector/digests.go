package projector

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// StateDigest is what the live state of a partition was at a position.
type StateDigest struct {
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"`
	Digest    string `json:"digest"`
	// Keys is the number of keys.
	Keys int `json:"keys"`
}

// Digests is Digest of all partitions.
func (p *Projector) Digests(ctx context.Context) ([]StateDigest, error) {
	list := make([]StateDigest, len(p.workers))
	group, ctx := errgroup.WithContext(ctx)
	for k := range p.workers {
		group.Go(func() (err error) {
			list[k], err = p.Digest(ctx, k)
			return err
		})
	}
	return list, group.Wait()
}

// Digest returns the digest of a partition's live state at the position where that stood during the
// call. Traffic goes on; the partition waits for one checkpoint. The error is [ErrFoldingAgain] for
// a state that is not complete.
func (p *Projector) Digest(ctx context.Context, partition int) (d StateDigest, err error) {
	w := p.workers[partition]
	if err := w.unanswered(); err != nil {
		return d, err
	}
	snap, position, err := w.snapshot()
	if err != nil {
		return d, fmt.Errorf("digest of partition %d: %w", partition, err)
	}
	defer snap.Close()
	d = StateDigest{Partition: partition, Position: position}
	d.Digest, d.Keys, err = snap.Digest(ctx)
	return d, err
}
