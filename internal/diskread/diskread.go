// Package diskread reads files from the disk itself, past the memory in which the operating system
// keeps what was read or written lately.
//
// What was written a moment ago is read back from that memory and proves nothing about the disk.
// On Linux files are read with O_DIRECT; where the file system has none of that, and elsewhere, the
// system is asked to forget what it keeps of the file first, which it does for all that has been
// synced. Neither drives out what others need.
package diskread

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"unsafe"
)

const (
	// alignment is what O_DIRECT wants of offsets and memory; no disk asks for more.
	alignment = 4096
	// windowSize is what is read at a time.
	windowSize = 1 << 20
)

// Pace is called with the number of bytes before they are read from the disk. It may wait; its
// error ends the reading. nil does not wait.
type Pace func(bytes int) error

// File is a file that is read from the disk. It is for one goroutine.
type File struct {
	f      *os.File
	pace   Pace
	window []byte // aligned
	at     int64  // offset of the window, a multiple of alignment
	filled int
}

// Open opens a file for reading.
func Open(path string, pace Pace) (*File, error) {
	f, direct, err := open(path)
	if err != nil {
		return nil, err
	}
	if !direct {
		forget(f)
	}
	return &File{f: f, pace: pace}, nil
}

// Stat describes the file as it is now.
func (d *File) Stat() (fs.FileInfo, error) { return d.f.Stat() }

// Close closes the file.
func (d *File) Close() error { return d.f.Close() }

// ReadAt implements [io.ReaderAt].
func (d *File) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at < d.at || at >= d.at+int64(d.filled) {
			if err := d.fill(at); err != nil {
				return n, err
			}
			if at >= d.at+int64(d.filled) {
				return n, io.EOF
			}
		}
		n += copy(p[n:], d.window[at-d.at:d.filled])
	}
	return n, nil
}

// fill reads the window that begins with the block of an offset.
func (d *File) fill(off int64) error {
	if d.window == nil {
		d.window = aligned(make([]byte, windowSize+alignment))[:windowSize]
	}
	d.at, d.filled = off/alignment*alignment, 0
	info, err := d.f.Stat()
	if err != nil {
		return err
	}
	want := min(int64(windowSize), info.Size()-d.at)
	if want <= 0 {
		return nil
	}
	if d.pace != nil {
		if err := d.pace(int(want)); err != nil {
			return err
		}
	}
	// Whole blocks are asked for: the last one is not full.
	size := (want + alignment - 1) / alignment * alignment
	d.filled, err = readFull(d.f, d.window[:size], d.at)
	return err
}

// aligned is the part of some memory that begins where O_DIRECT wants it.
func aligned(b []byte) []byte {
	return b[-uintptr(unsafe.Pointer(&b[0]))&(alignment-1):]
}

// readFull reads up to the end of the file. With O_DIRECT a read that ends within a block has met
// the end, and another one from there would not be aligned.
func readFull(f *os.File, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		some, err := f.ReadAt(p[n:], off+int64(n))
		n += some
		if errors.Is(err, io.EOF) || n%alignment != 0 {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadFile reads a whole file, as large as it was when it was opened, into memory that may
// be given.
func ReadFile(path string, buffer []byte, pace Pace) ([]byte, error) {
	d, err := Open(path, pace)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return nil, err
	}
	if size := int(info.Size()); cap(buffer) < size {
		buffer = make([]byte, size+size/8)
	}
	n, err := d.ReadAt(buffer[:info.Size()], 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buffer[:n], err
}
