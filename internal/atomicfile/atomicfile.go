// Package atomicfile replaces small files so that a crash leaves the old content or the new one,
// and nothing in between.
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

// Write gives the file at path new content. When it returns without an error, the content survives
// a power failure: the file and its directory have been synced. Whenever the process ends, the file
// has its old content, or is still absent, or has all of the new content. A file that is made or
// replaced has the mode perm, less the umask; a file path.tmp beside it is used and overwritten.
func Write(path string, content []byte, perm fs.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, fsync(f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(fsync(d), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
