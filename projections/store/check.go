package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Check reads every block of the store's tables in a directory against its checksum, without
// opening the store and without changing anything, and returns how many bytes it read. The error is
// [ErrCorrupt] for files that are not what was written. It may run beside a store that is open: a
// table that goes meanwhile is passed over. pause, if not nil, is called with the bytes of
// each table.
func Check(ctx context.Context, dir string, pause func(bytes int64)) (bytes int64, err error) {
	if err := wasCorrupt(vfs.Default, dir); err != nil {
		return 0, fmt.Errorf("check state %s: %w", dir, err)
	}
	names, err := vfs.Default.List(dir)
	if err != nil {
		return 0, fmt.Errorf("check state: %w", err)
	}
	opts := (&Store{failure: newFailure(vfs.Default, dir, nil), full: newFullDisk(dir, slog.Default())}).pebbleOptions(Options{FS: vfs.Default})
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return bytes, err
		}
		n, err := checkTable(ctx, filepath.Join(dir, name), opts)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return bytes, fmt.Errorf("check state: %w", err)
		}
		bytes += n
		if pause != nil {
			pause(n)
		}
	}
	return bytes, nil
}

func checkTable(ctx context.Context, path string, opts *pebble.Options) (bytes int64, err error) {
	file, err := vfs.Default.Open(path)
	if err != nil {
		return 0, err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	bytes = readable.Size()
	r, err := sstable.NewReader(ctx, readable, opts.MakeReaderOptions())
	if err != nil { // which closes the file
		return 0, &CorruptError{Path: path, Err: err}
	}
	err = r.ValidateBlockChecksums()
	if err != nil {
		err = &CorruptError{Path: path, Err: err}
	}
	return bytes, errors.Join(err, r.Close())
}
