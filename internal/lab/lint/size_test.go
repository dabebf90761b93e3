package lint

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
)

// maxFile is the size of a file of the repository, in bytes: more than the largest that is made by
// a program, and less than any program.
const maxFile = 1 << 20

// A program that was built in place is no part of the repository.
func TestFilesAreSmall(t *testing.T) {
	none(t, checkSizes(t, repository, tracked(t)))
	planted := fstest.MapFS{"cmd/a/a": {Data: make([]byte, maxFile+1)}, "cmd/a/a.go": {Data: []byte("package main")}}
	if found := checkSizes(t, planted, []string{"cmd/a/a", "cmd/a/a.go"}); len(found) != 1 {
		t.Errorf("of a program and its source were found: %q", found)
	}
}

// checkSizes returns the files that are too large.
func checkSizes(t *testing.T, tree fs.FS, files []string) (findings []string) {
	t.Helper()
	for _, name := range files {
		info, err := fs.Stat(tree, name)
		if err != nil {
			continue // it is to be removed
		}
		if info.Size() > maxFile {
			findings = append(findings, fmt.Sprintf("%s: %d bytes, at most %d", name, info.Size(), maxFile))
		}
	}
	return findings
}
