package store

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ended is a store whose manifest could not be written. To Pebble that is the end of the process,
// since whether the manifest has its last record is not known any more. Here the process goes on,
// and Pebble with it: it would flush the same changes again, and the manifest would have them
// twice, in two tables of one level. So from then on nothing in the directory changes, and the next
// start finds either the state before the record or the one after it.
type ended struct{ by atomic.Pointer[error] }

func (e *ended) end(err error) { e.by.CompareAndSwap(nil, &err) }

func (e *ended) err() error {
	if by := e.by.Load(); by != nil {
		return *by
	}
	return nil
}

// endingFS is a file system on which nothing changes once the store has ended. Of files that are
// open only manifests are held back: others are no part of the state yet.
type endingFS struct {
	vfs.FS
	ended *ended
}

// Unwrap implements [vfs.FS].
func (fs endingFS) Unwrap() vfs.FS { return fs.FS }

// Create implements [vfs.FS].
func (fs endingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.ended.err(); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, category)
	if err != nil || !strings.HasPrefix(fs.PathBase(name), manifestPrefix) {
		return f, err
	}
	return endingFile{f, fs.ended}, nil
}

// ReuseForWrite implements [vfs.FS].
func (fs endingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.ended.err(); err != nil {
		return nil, err
	}
	return fs.FS.ReuseForWrite(oldname, newname, category)
}

// Link implements [vfs.FS].
func (fs endingFS) Link(oldname, newname string) error {
	if err := fs.ended.err(); err != nil {
		return err
	}
	return fs.FS.Link(oldname, newname)
}

// Rename implements [vfs.FS].
func (fs endingFS) Rename(oldname, newname string) error {
	if err := fs.ended.err(); err != nil {
		return err
	}
	return fs.FS.Rename(oldname, newname)
}

// Remove implements [vfs.FS].
func (fs endingFS) Remove(name string) error {
	if err := fs.ended.err(); err != nil {
		return err
	}
	return fs.FS.Remove(name)
}

// endingFile is a manifest.
type endingFile struct {
	vfs.File
	ended *ended
}

// Write implements [vfs.File].
func (f endingFile) Write(p []byte) (int, error) {
	if err := f.ended.err(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}
