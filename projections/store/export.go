package store

import (
	"context"
	"fmt"

	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// StateInfo identifies a state: where it stands in the log, by which rules, and its digest.
type StateInfo struct {
	// Sequence is the last entry folded, and Fingerprint tells that from another one.
	Sequence    uint64 `json:"sequence"`
	Fingerprint uint64 `json:"fingerprint"`
	// Rules is the number of the rules that decided: see [projections.Rules].
	Rules uint64 `json:"rules"`
	// Level is the level of the rules that decide the next entry: see [projections.Level].
	Level uint64 `json:"level"`
	// Tree is the head of the Merkle tree of the log at the entry.
	Tree merkle.Head `json:"tree"`
	// Digest is the state's, and Keys how many keys it has.
	Digest string `json:"digest"`
	Keys   int    `json:"keys"`
}

// Export writes the state of the last committed checkpoint to a directory, which must not be there:
// files that [Open] opens. Tables get hard links where the file system has them, and so cost no
// room until the store lets go of them. No commit may be made meanwhile.
func (s *Store) Export(dir string) error {
	if err := s.Flush(); err != nil {
		return err
	}
	if err := s.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("export state: %w", s.failure.read(err))
	}
	return nil
}

// Info reads all of the state.
func (s *Snapshot) Info(ctx context.Context) (f StateInfo, err error) {
	if f.Sequence, f.Fingerprint, err = projections.StoredPosition(s.Get); err != nil {
		return f, err
	}
	if f.Rules, err = projections.StoredRules(s.Get); err != nil {
		return f, err
	}
	if f.Level, err = projections.StoredLevel(s.Get); err != nil {
		return f, err
	}
	tree, err := projections.StoredTree(s.Get)
	if err != nil {
		return f, err
	}
	if f.Tree, err = tree.Head(tree.Size); err != nil {
		return f, err
	}
	f.Digest, f.Keys, err = s.Digest(ctx)
	return f, err
}

// Inspect reads all of the state in a directory, which is not open, and changes nothing. The error
// is [ErrCorrupt] as in [Open].
func Inspect(ctx context.Context, dir string) (f StateInfo, err error) {
	err = lookAt(dir, func(s *Snapshot) error {
		f, err = s.Info(ctx)
		return err
	})
	return f, err
}
