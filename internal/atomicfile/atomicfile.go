// Package atomicfile replaces and moves files so that a crash leaves the old state or the new one,
// and nothing in between, and so that the new one survives a power failure.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fsync makes a file or a directory durable. It is a variable for tests, which see no
// power failures.
var fsync = (*os.File).Sync

// AfterSync is called after everything that was synced here, if it is set: for tests that look at
// what is left where a process ends. It is set before anything else is done here.
var AfterSync func()

func sync(f *os.File) error {
	err := fsync(f)
	if err == nil && AfterSync != nil {
		AfterSync()
	}
	return err
}

// Write gives the file at path new content. When it returns without an error, the content survives
// a power failure: the file and its directory have been synced. Whenever the process ends, the file
// has its old content, or is still absent, or has all of the new content. A file that is made or
// replaced has the mode perm, less the umask; a file path.tmp beside it is used and overwritten.
func Write(path string, content []byte, perm fs.FileMode) error {
	tmp := path + ".tmp"
	if err := WriteSynced(tmp, content, perm); err != nil {
		return err
	}
	return Rename(tmp, path)
}

// WriteSynced writes a file in place and syncs its content, but not its name: see [SyncDir].
func WriteSynced(path string, content []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, sync(f), f.Close())
}

// Rename renames a file or directory. When it returns without an error, the new name survives a
// power failure, and the old one does not come back.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir := filepath.Dir(to)
	err := SyncDir(dir)
	if left := filepath.Dir(from); left != dir {
		err = errors.Join(err, SyncDir(left))
	}
	return err
}

// Append appends to a file, which it makes if need be. When it returns without an error, content
// and name survive a power failure; a crash before may leave a part of the content.
func Append(path string, content []byte, perm fs.FileMode) error {
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, sync(f), f.Close()); err != nil || missing == nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and those above it, as far as they are not there. When it returns
// without an error, those that it made survive a power failure.
func MkdirAll(dir string, perm fs.FileMode) error {
	above := filepath.Dir(dir)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || above == dir {
		return os.MkdirAll(dir, perm)
	}
	if err := MkdirAll(above, perm); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, perm); err != nil {
		return err
	}
	return SyncDir(above)
}

// SyncTree makes the names of everything below a directory durable, but not its own.
func SyncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return SyncDir(path)
	})
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(sync(d), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
