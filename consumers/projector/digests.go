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

// Digests returns the digest of each partition's live state, each at the position where that stood
// during the call. Traffic goes on; a partition waits for one checkpoint.
func (p *Projector) Digests(ctx context.Context) ([]StateDigest, error) {
	list := make([]StateDigest, len(p.workers))
	group, ctx := errgroup.WithContext(ctx)
	for k, w := range p.workers {
		group.Go(func() error {
			snap, position, err := w.snapshot()
			if err != nil {
				return fmt.Errorf("digest of partition %d: %w", k, err)
			}
			defer snap.Close()
			list[k] = StateDigest{Partition: k, Position: position}
			list[k].Digest, list[k].Keys, err = snap.Digest(ctx)
			return err
		})
	}
	return list, group.Wait()
}
