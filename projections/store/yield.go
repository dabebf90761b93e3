package store

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// background is work that is in no hurry, unless somebody waits for it.
//
// Checkpoints and compactions compute for hundreds of milliseconds, and Go takes the processor from a goroutine only every ten. On
// a machine of few cores an acknowledgement, which passes through a dozen goroutines, would wait that long at each of them. So they
// yield often. That is not enough: where nothing waits in its own queue, a processor goes on with the goroutine that yielded, and
// leaves alone what waits in the queues of others; one whose goroutine sleeps looks there. The shortest sleep takes a millisecond.
type background struct {
	waiting *atomic.Int32 // those who wait
	since   time.Time     // the last sleep
}

const (
	// workFor is how long background work may go on without a sleep.
	workFor  = 600 * time.Microsecond
	sleepFor = 50 * time.Microsecond
)

// standAside lets those run who wait for a processor.
func (b *background) standAside() {
	runtime.Gosched()
	if b.waiting.Load() == 0 && time.Since(b.since) > workFor {
		time.Sleep(sleepFor)
		b.since = time.Now()
	}
}

// yieldingFS is a file system whose files stand aside after each write. Pebble writes a table in pieces of some kilobytes, so that a
// flush or a compaction holds up others for a millisecond at most.
type yieldingFS struct {
	vfs.FS
	waiting *atomic.Int32
}

// Create implements [vfs.FS].
func (fs yieldingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.yielding(f, err)
}

// ReuseForWrite implements [vfs.FS].
func (fs yieldingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	return fs.yielding(f, err)
}

// Unwrap implements [vfs.FS].
func (fs yieldingFS) Unwrap() vfs.FS { return fs.FS }

type yieldingFile struct {
	vfs.File
	background
}

func (fs yieldingFS) yielding(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &yieldingFile{f, background{waiting: fs.waiting}}, nil
}

// Write implements [vfs.File].
func (f *yieldingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.standAside()
	return n, err
}
