package store

import (
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// yieldingFS is a file system whose files let go of the processor after each write and read.
//
// Flushes and compactions compute for hundreds of milliseconds, and Go takes the processor from a goroutine only every ten. On a
// machine of few cores an acknowledgement, which passes through a dozen goroutines, would wait that long at each of them. Pebble
// writes a table in pieces of some kilobytes, so that a goroutine that yields at each piece holds up others for less than a millisecond.
type yieldingFS struct{ vfs.FS }

// Create implements [vfs.FS].
func (fs yieldingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return yielding(fs.FS.Create(name, category))
}

// Open implements [vfs.FS].
func (fs yieldingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return yielding(fs.FS.Open(name, opts...))
}

// ReuseForWrite implements [vfs.FS].
func (fs yieldingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return yielding(fs.FS.ReuseForWrite(oldname, newname, category))
}

// Unwrap implements [vfs.FS].
func (fs yieldingFS) Unwrap() vfs.FS { return fs.FS }

type yieldingFile struct{ vfs.File }

func yielding(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return yieldingFile{f}, nil
}

// Write implements [vfs.File].
func (f yieldingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	runtime.Gosched()
	return n, err
}

// ReadAt implements [vfs.File].
func (f yieldingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	runtime.Gosched()
	return n, err
}
