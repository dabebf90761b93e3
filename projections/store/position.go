package store

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
)

// Position returns where the state in a directory stands, which is that of its last checkpoint:
// see [projections.Partition.Position]. Nothing is changed. The error is [ErrCorrupt] as in [Open].
// The store must not be open.
func Position(dir string) (sequence, fingerprint uint64, err error) {
	err = lookAt(dir, func(s *Snapshot) error {
		sequence, fingerprint, err = projections.StoredPosition(s.Get)
		return err
	})
	return sequence, fingerprint, err
}

// lookAt calls a function with the state in a directory, which is not open, and changes nothing.
func lookAt(dir string, f func(*Snapshot) error) error {
	failure := newFailure(vfs.Default, dir, nil)
	opts := (&Store{failure: failure, full: newFullDisk(dir, slog.Default())}).pebbleOptions(Options{FS: vfs.Default, Logger: slog.New(slog.DiscardHandler)})
	opts.ReadOnly = true
	opts.Cache = pebble.NewCache(MemoryBytes)
	defer opts.Cache.Unref()
	db, err := openPebble(dir, opts)
	if err == nil {
		s := newSnapshot(db, failure, new(readers))
		err = errors.Join(f(s), s.Close(), db.Close())
	}
	if err != nil {
		return fmt.Errorf("look at state %s: %w", dir, err)
	}
	return nil
}
