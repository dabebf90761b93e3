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
	opts := (&Store{failure: newFailure(vfs.Default, dir, nil), full: newFullDisk(dir, slog.Default())}).pebbleOptions(Options{FS: vfs.Default, Logger: slog.New(slog.DiscardHandler)})
	opts.ReadOnly = true
	opts.Cache = pebble.NewCache(MemoryBytes)
	defer opts.Cache.Unref()
	db, err := openPebble(dir, opts)
	if err != nil {
		return 0, 0, fmt.Errorf("look at state %s: %w", dir, err)
	}
	sequence, fingerprint, err = projections.StoredPosition(func(key []byte) ([]byte, error) {
		v, closer, err := db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, known(err)
		}
		v = append([]byte(nil), v...)
		return v, closer.Close()
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, 0, fmt.Errorf("look at state %s: %w", dir, err)
	}
	return sequence, fingerprint, nil
}
