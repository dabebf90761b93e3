//go:build !unix

package runtime

// openFilesLimit is not known on this system.
func openFilesLimit() (files uint64, known bool) { return 0, false }

// PrivateFiles has the process make files and directories that only its user may read, where there
// is a way to say so.
func PrivateFiles() {}
