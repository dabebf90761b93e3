package store

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// background is work that gives way to other goroutines, unless somebody waits for it.
//
// Checkpoints and compactions compute for hundreds of milliseconds, and Go preempts a goroutine
// only every ten. On a machine of few cores an acknowledgement, which passes through a dozen
// goroutines, would wait that long at each of them. So background work yields often. That is not
// enough: a processor whose own run queue is empty goes on with the goroutine that yielded, and
// does not look at the run queues of other processors; it does when its goroutine sleeps. Even the
// shortest sleep takes a millisecond.
type background struct {
	waiting *atomic.Int32 // callers that wait for the work
	since   time.Time     // of the last sleep, or of the beginning
}

const (
	// sleepAfter is how long background work goes on without a sleep.
	sleepAfter = 600 * time.Microsecond
	sleepFor   = 50 * time.Microsecond
)

// yield lets other goroutines run.
func (b *background) yield() {
	runtime.Gosched()
	if b.waiting.Load() == 0 && time.Since(b.since) > sleepAfter {
		time.Sleep(sleepFor)
		b.since = time.Now()
	}
}

// yieldingFS is a file system whose files yield after each write. Pebble writes a table in pieces
// of some kilobytes, so that a flush or a compaction holds up others for a millisecond at most.
type yieldingFS struct {
	vfs.FS
	waiting *atomic.Int32
}

// Create implements [vfs.FS].
func (fs yieldingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.wrap(f, err)
}

// ReuseForWrite implements [vfs.FS].
func (fs yieldingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	return fs.wrap(f, err)
}

// Unwrap implements [vfs.FS].
func (fs yieldingFS) Unwrap() vfs.FS { return fs.FS }

type yieldingFile struct {
	vfs.File
	background
}

func (fs yieldingFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &yieldingFile{f, background{waiting: fs.waiting}}, nil
}

// Write implements [vfs.File].
func (f *yieldingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.yield()
	return n, err
}
