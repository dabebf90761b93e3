package store

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullDisk has writes wait while the disk is full.
//
// To Pebble a write that fails is fatal where it concerns the manifest, and is tried again for ever
// elsewhere. Here nothing depends on when a checkpoint is written: the log has what it lacks, and
// reads go on beside a write that waits. So whatever finds no room waits until there is some.
type fullDisk struct {
	dir    string
	logger *slog.Logger
	// waiting is how many writes wait now.
	waiting atomic.Int32
	// refusing has what finds no room fail, and refused is the first that did.
	refusing atomic.Bool
	refused  atomic.Pointer[error]
	stopOnce sync.Once
	stopped  chan struct{} // closed when nothing waits any more
}

// fullDiskPause is between two tries of a write that found no room.
const fullDiskPause = 100 * time.Millisecond

func newFullDisk(dir string, logger *slog.Logger) *fullDisk {
	return &fullDisk{dir: dir, logger: logger, stopped: make(chan struct{})}
}

// stop has writes that find no room fail from now on, those that wait among them.
func (d *fullDisk) stop() { d.stopOnce.Do(func() { close(d.stopped) }) }

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// try calls f until it finds room.
func (d *fullDisk) try(f func() error) error {
	err := f()
	if !isFull(err) {
		return err
	}
	if d.refusing.Load() {
		d.refused.CompareAndSwap(nil, &err)
		return err
	}
	if d.waiting.Add(1) == 1 {
		d.logger.Error("the disk of the state is full; checkpoints wait for room, questions are answered", "dir", d.dir, "error", err)
	}
	defer func() {
		if d.waiting.Add(-1) == 0 && !isFull(err) {
			d.logger.Info("the disk of the state has room again", "dir", d.dir)
		}
	}()
	for isFull(err) {
		select {
		case <-d.stopped:
			return err
		case <-time.After(fullDiskPause):
			err = f()
		}
	}
	return err
}

// waitingFS is a file system on which what finds no room waits for it.
type waitingFS struct {
	vfs.FS
	disk *fullDisk
}

// Unwrap implements [vfs.FS].
func (fs waitingFS) Unwrap() vfs.FS { return fs.FS }

// Create implements [vfs.FS].
func (fs waitingFS) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.disk.try(func() error {
		f, err = fs.FS.Create(name, category)
		return err
	})
	return fs.wrap(f, err)
}

// ReuseForWrite implements [vfs.FS].
func (fs waitingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.disk.try(func() error {
		f, err = fs.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return fs.wrap(f, err)
}

// Link implements [vfs.FS].
func (fs waitingFS) Link(oldname, newname string) error {
	return fs.disk.try(func() error { return fs.FS.Link(oldname, newname) })
}

// Rename implements [vfs.FS].
func (fs waitingFS) Rename(oldname, newname string) error {
	return fs.disk.try(func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs waitingFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &waitingFile{f, fs.disk}, nil
}

type waitingFile struct {
	vfs.File
	disk *fullDisk
}

// Write implements [vfs.File]. What was written before the disk was full stays written.
func (f *waitingFile) Write(p []byte) (n int, err error) {
	err = f.disk.try(func() error {
		some, err := f.File.Write(p[n:])
		n += some
		return err
	})
	return n, err
}

// WriteAt implements [vfs.File].
func (f *waitingFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.disk.try(func() error {
		some, err := f.File.WriteAt(p[n:], at+int64(n))
		n += some
		return err
	})
	return n, err
}

// Preallocate implements [vfs.File].
func (f *waitingFile) Preallocate(offset, length int64) error {
	return f.disk.try(func() error { return f.File.Preallocate(offset, length) })
}
