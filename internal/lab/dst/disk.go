package dst

import (
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is a file system in memory that a life of the process works on. Every change is a step that
// the world counts, at which the process may die, and an operation that may fail. What the next
// life finds is made by [disk.after].
type disk struct {
	vfs.FS
	mem *vfs.MemFS
	// step is called before a change; see [world.durable].
	step  func(durable bool) moment
	died  func() // takes the image after a change at which the process dies
	fired func(kind string)

	mu     sync.Mutex
	faults []diskFault
	full   bool
	any    bool            // one fired
	lies   bool            // a planted fault: syncs do nothing
	synced map[string]bool // files whose bytes are synced, whether or not their names are
	named  map[string]int  // when a file got its name
}

// diskFault fails one operation.
type diskFault struct {
	kind  diskKind
	after int // operations of its kind before it
}

type diskKind int

const (
	diskWrite diskKind = iota
	diskSync
	diskRead
	diskFull // writes fail from then on, until the next life
	diskKinds
)

var diskNames = [diskKinds]string{"disk: write failed", "disk: sync failed", "disk: read failed", "disk: full"}

// arm has an operation fail.
func (d *disk) arm(f diskFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
}

// failed reports whether a fault fired in this life.
func (d *disk) failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.any
}

// heal has everything work from now on.
func (d *disk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults, d.full = nil, false
}

// mayFail reports whether an operation on a file may fail. Pebble ends the process for an error
// with its manifest, its markers or their directory, which is one of the crashes then: the steps at
// which those are written are steps at which the process dies.
func mayFail(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".sst") || strings.HasPrefix(base, "checkpoint-") || strings.HasPrefix(base, "CURRENT")
}

// failure is the error that an operation gets.
func (d *disk) failure(kind diskKind, name string) error {
	if !mayFail(name) {
		return nil
	}
	err := d.draw(kind)
	if err == syscall.ENOSPC && strings.HasSuffix(name, ".sst") {
		// Pebble tries again at once, for ever; here no time would pass meanwhile. Others hold
		// locks while they write, and a goroutine that waits for a lock stops the clock.
		time.Sleep(time.Second)
	}
	if err == 0 {
		return nil
	}
	return &os.PathError{Op: "simulated", Path: name, Err: err}
}

// draw says which error an operation gets, 0 for none.
func (d *disk) draw(kind diskKind) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full && kind == diskWrite {
		return syscall.ENOSPC
	}
	for i := range d.faults {
		f := &d.faults[i]
		if f.kind != kind && (f.kind != diskFull || kind != diskWrite) {
			continue
		}
		if f.after--; f.after >= 0 {
			continue
		}
		d.any = true
		d.fired(diskNames[f.kind])
		err := syscall.Errno(syscall.EIO)
		if f.kind == diskFull {
			d.full, err = true, syscall.ENOSPC
		}
		d.faults = slices.Delete(d.faults, i, i+1)
		return err
	}
	return 0
}

// change makes a change that a crash may come before or after.
func (d *disk) change(durable bool, f func() error) error {
	m := d.step(durable)
	err := f() // of a process that is dead it changes a disk that nobody will see
	if m == diesAfter {
		d.died()
	}
	return err
}

// Create implements [vfs.FS].
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	if err := d.failure(diskWrite, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.mark(name, false)
	d.mu.Unlock()
	err = d.change(false, func() error { f, err = d.FS.Create(name, category); return err })
	return d.wrap(f, name, err)
}

// Open implements [vfs.FS].
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	return d.wrap(f, name, err)
}

// OpenDir implements [vfs.FS].
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return d.wrap(f, name, err)
}

// OpenReadWrite implements [vfs.FS].
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, category, opts...)
	return d.wrap(f, name, err)
}

// ReuseForWrite implements [vfs.FS].
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname, category)
	return d.wrap(f, newname, err)
}

// Link implements [vfs.FS].
func (d *disk) Link(oldname, newname string) error {
	return d.change(false, func() error { return d.FS.Link(oldname, newname) })
}

// RemoveAll implements [vfs.FS].
func (d *disk) RemoveAll(name string) error {
	return d.change(false, func() error { return d.FS.RemoveAll(name) })
}

// Rename implements [vfs.FS].
func (d *disk) Rename(oldname, newname string) error {
	return d.change(false, func() error {
		d.mu.Lock()
		d.mark(newname, d.synced[oldname])
		d.mu.Unlock()
		return d.FS.Rename(oldname, newname)
	})
}

// mark notes whether a file's bytes are synced. d.mu is held.
func (d *disk) mark(name string, synced bool) {
	if d.synced == nil {
		d.synced, d.named = map[string]bool{}, map[string]int{}
	}
	if _, ok := d.named[name]; !ok {
		d.named[name] = len(d.named)
	}
	d.synced[name] = synced
}

// MkdirAll implements [vfs.FS].
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.change(false, func() error { return d.FS.MkdirAll(dir, perm) })
}

// Unwrap implements [vfs.FS].
func (d *disk) Unwrap() vfs.FS { return d.FS }

func (d *disk) wrap(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, name: name}, nil
}

type diskFile struct {
	vfs.File
	d    *disk
	name string
}

// Write implements [vfs.File].
func (f *diskFile) Write(p []byte) (n int, err error) {
	if err := f.d.failure(diskWrite, f.name); err != nil {
		n, _ = f.File.Write(p[:len(p)/2]) // torn
		return n, err
	}
	f.mark(false)
	err = f.d.change(false, func() error { n, err = f.File.Write(p); return err })
	return n, err
}

// Sync implements [vfs.File].
func (f *diskFile) Sync() error {
	if err := f.d.failure(diskSync, f.name); err != nil {
		return err
	}
	if f.d.lies {
		return nil
	}
	return f.d.change(true, f.sync)
}

func (f *diskFile) sync() error {
	err := f.File.Sync()
	if err == nil {
		f.mark(true)
	}
	return err
}

func (f *diskFile) mark(synced bool) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.mark(f.name, synced)
}

// SyncData implements [vfs.File].
func (f *diskFile) SyncData() error { return f.Sync() }

// SyncTo implements [vfs.File].
func (f *diskFile) SyncTo(length int64) (fullSync bool, err error) {
	if err := f.d.failure(diskSync, f.name); err != nil {
		return false, err
	}
	if f.d.lies {
		return true, nil
	}
	return true, f.d.change(true, f.sync)
}

// ReadAt implements [vfs.File].
func (f *diskFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.d.failure(diskRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}
