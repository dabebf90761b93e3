package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
)

// unopened gives an error of opening Pebble its name. What the host refuses (a read error, a limit,
// a permission) passes, and says nothing about the files. Whatever else keeps a store from being
// opened is in its files: a table that is missing or of another size, no manifest, no marker.
func unopened(err error) error {
	err = known(err)
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	var host syscall.Errno
	if errors.As(err, &host) && !errors.Is(host, fs.ErrNotExist) {
		return err
	}
	return &CorruptError{Err: err}
}

// Position returns where the state in a directory stands, which is that of its last checkpoint:
// see [projections.Partition.Position]. Nothing is changed. The error is [ErrCorrupt] as in [Open].
// The store must not be open.
func Position(dir string) (sequence, fingerprint uint64, err error) {
	opts := (&Store{failure: newFailure(vfs.Default, dir)}).pebbleOptions(Options{FS: vfs.Default})
	opts.ReadOnly, opts.Logger = true, pebble.DefaultLogger
	opts.Cache = pebble.NewCache(MemoryBytes)
	defer opts.Cache.Unref()
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return 0, 0, fmt.Errorf("look at state %s: %w", dir, unopened(err))
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
