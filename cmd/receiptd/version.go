package main

import (
	"fmt"
	"io"
	"runtime/debug"
)

// versionCommand shows the version.
type versionCommand struct{}

// Run prints the version, and the Go toolchain's.
func (versionCommand) Run(stdout io.Writer) error {
	toolchain := "unknown Go"
	if info, ok := debug.ReadBuildInfo(); ok {
		toolchain = info.GoVersion
	}
	_, err := fmt.Fprintf(stdout, "receiptd %s (%s)\n", version(), toolchain)
	return err
}

// version returns the module's version as recorded by the Go toolchain, with the revision if there
// is one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return info.Main.Version + " " + s.Value
		}
	}
	return info.Main.Version
}
