//go:build !linux

package diskread

import "os"

// open opens a file.
func open(path string) (f *os.File, direct bool, err error) {
	f, err = os.Open(path)
	return f, false, err
}

// forget does nothing: there is no way to ask for it.
func forget(*os.File) {}
