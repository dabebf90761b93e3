package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// fuzzTable is the document that says what is fuzzed.
const fuzzTable = "docs/faults.md"

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9]+)\(`)

func TestFuzzTargetsAreListed(t *testing.T) {
	none(t, checkFuzz(t, repository, tracked(t)))
}

func TestFuzzTargetsThatAreNotListedAreFound(t *testing.T) {
	tree := fstest.MapFS{
		fuzzTable:     {Data: []byte("FuzzGone\n\n| what is read | target |\n| --- | --- |\n| a file | `FuzzFile` |\n| the same again | `FuzzTwice` |\n")},
		"a/a_test.go": {Data: []byte("func FuzzFile(f *testing.F) {}\nfunc FuzzGone(f *testing.F) {}\n")},
		"b/b_test.go": {Data: []byte("func FuzzTwice(f *testing.F) {}\n")},
		"c/c_test.go": {Data: []byte("func FuzzTwice(f *testing.F) {}\n")},
	}
	exactly(t, checkFuzz(t, tree, []string{"a/a_test.go", "b/b_test.go", "c/c_test.go", fuzzTable}),
		"a: FuzzGone is not in the table", "c: FuzzTwice is b's, too")
}

// checkFuzz finds fuzz targets that the table of them leaves out, and those that have one name.
func checkFuzz(t *testing.T, tree fs.FS, files []string) (findings []string) {
	listed := map[string]bool{}
	for line := range strings.SplitSeq(string(read(t, tree, fuzzTable)), "\n") {
		if strings.HasPrefix(line, "|") {
			for _, m := range testName.FindAllStringSubmatch(line, -1) {
				listed[m[1]] = true
			}
		}
	}
	of := map[string]string{}
	for _, name := range files {
		if !strings.HasSuffix(name, "_test.go") || name == "internal/lab/lint/fuzz_test.go" {
			continue
		}
		for _, m := range fuzzFunc.FindAllStringSubmatch(string(read(t, tree, name)), -1) {
			target, dir := m[1], path.Dir(name)
			if !listed[target] {
				findings = append(findings, fmt.Sprintf("%s: %s is not in the table of %s", dir, target, fuzzTable))
			}
			if other := of[target]; other != "" {
				findings = append(findings, fmt.Sprintf("%s: %s is %s's, too", dir, target, other))
			}
			of[target] = dir
		}
	}
	return findings
}
