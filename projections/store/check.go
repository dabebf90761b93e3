package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/diskread"
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
		if !strings.HasSuffix(name, tableSuffix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return bytes, err
		}
		n, err := checkTable(ctx, filepath.Join(dir, name), opts, nil)
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

// Files are those that the store reads and writes now, with a checksum for every block of them:
// tables, and the manifest. Others come and go meanwhile.
func (s *Store) Files() ([]string, error) {
	levels, err := s.db.SSTables()
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", s.failure.read(err))
	}
	var paths []string
	for _, level := range levels {
		for i := range level {
			paths = append(paths, filepath.Join(s.dir, level[i].BackingSSTNum.String()+tableSuffix))
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths) // several tables may lie in one file
	manifests, err := filepath.Glob(filepath.Join(s.dir, manifestPrefix+"*"))
	if err == nil && len(manifests) > 0 {
		paths = append(paths, slices.Max(manifests))
	}
	return paths, err
}

const (
	tableSuffix    = ".sst"
	manifestPrefix = "MANIFEST-"
)

// CheckFile reads one of the store's files from the disk, past the memory of the operating system,
// against its checksums, while the store goes on. pace is asked before each read. A file that has
// gone meanwhile is passed over. The error is [ErrCorrupt] for one that is not what was written;
// the store then is corrupt, too. It may be called after the store was closed.
func (s *Store) CheckFile(ctx context.Context, path string, pace diskread.Pace) (bytes int64, err error) {
	check := func() (int64, error) { return checkTable(ctx, path, s.opts, pace) }
	if strings.HasPrefix(filepath.Base(path), manifestPrefix) {
		check = func() (int64, error) { return s.checkManifest(path, pace) }
	}
	bytes, err = check()
	if errors.Is(err, ErrCorrupt) { // no read error that passes
		_, err = check()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return bytes, nil
	}
	if c, ok := errors.AsType[*CorruptError](err); ok {
		s.failure.corrupt(c.Path, c.Err)
	}
	return bytes, err
}

// manifestTries is how often a manifest is read that is not whole: its end may be being written.
const manifestTries = 5

func (s *Store) checkManifest(path string, pace diskread.Pace) (size int64, err error) {
	for range manifestTries {
		b, err := diskread.ReadFile(path, nil, pace)
		if err != nil {
			return size, err
		}
		size = int64(len(b))
		if err = readRecords(b); err == nil || s.DiskFull() {
			return size, nil
		}
		time.Sleep(fullDiskPause)
	}
	return size, &CorruptError{Path: path, Err: err}
}

// readRecords reads the records of a manifest.
func readRecords(b []byte) error {
	r := record.NewReader(bytes.NewReader(b), 0)
	for {
		one, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if err != nil {
			return err
		}
	}
}

// table is a file as Pebble wants to be given one.
type table struct {
	*diskread.File
	path string
}

// Stat implements [sstable.ReadableFile].
func (t table) Stat() (vfs.FileInfo, error) { return vfs.Default.Stat(t.path) }

func checkTable(ctx context.Context, path string, opts *pebble.Options, pace diskread.Pace) (bytes int64, err error) {
	file, err := diskread.Open(path, pace)
	if err != nil {
		return 0, err
	}
	readable, err := sstable.NewSimpleReadable(table{file, path})
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	bytes = readable.Size()
	r, err := sstable.NewReader(ctx, readable, opts.MakeReaderOptions())
	if err == nil { // else the file is closed
		err = r.ValidateBlockChecksums()
		err = errors.Join(err, r.Close())
	}
	if errno := syscall.Errno(0); err != nil && !errors.As(err, &errno) && ctx.Err() == nil {
		err = &CorruptError{Path: path, Err: err}
	}
	return bytes, err
}
