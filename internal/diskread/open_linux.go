package diskread

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// open opens a file with O_DIRECT if its file system has that.
func open(path string) (f *os.File, direct bool, err error) {
	f, err = os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.Open(path)
		return f, false, err
	}
	if err != nil {
		return nil, false, err
	}
	// Some file systems open it so and refuse to read it.
	probe := make([]byte, 2*alignment)
	if _, err := readFull(f, aligned(probe)[:alignment], 0); err != nil {
		_ = f.Close()
		f, err = os.Open(path)
		return f, false, err
	}
	return f, true, nil
}

// forget has the system drop what it keeps of a file. What is not synced yet stays.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
