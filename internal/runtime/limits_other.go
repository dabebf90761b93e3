//go:build !unix

package runtime

// openFilesLimit is not known on this system.
func openFilesLimit() (files uint64, known bool) { return 0, false }
