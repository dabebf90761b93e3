//go:build unix

package runtime

import "syscall"

// openFilesLimit is how many files the process may have open.
func openFilesLimit() (files uint64, known bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Max), err == nil
}

// PrivateFiles has the process make files and directories that only its user may read, whatever a
// library asks for.
func PrivateFiles() { syscall.Umask(0o077) }
