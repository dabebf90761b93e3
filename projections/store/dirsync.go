package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// dirFS is a file system whose directories, when they cannot be synced, say so to the store instead
// of Pebble, which ends the process then. After that no checkpoint is taken: what Pebble goes on to
// write may not be durable, and nobody relies on it.
type dirFS struct {
	vfs.FS
	failure *failure
}

// OpenDir implements [vfs.FS].
func (fs dirFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &syncedDir{f, fs.failure}, nil
}

// Unwrap implements [vfs.FS].
func (fs dirFS) Unwrap() vfs.FS { return fs.FS }

type syncedDir struct {
	vfs.File
	failure *failure
}

// Sync implements [vfs.File].
func (d *syncedDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.failure.record(fmt.Errorf("keep state: %w", err))
	}
	return nil
}
