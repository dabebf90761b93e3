package lint

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

const invariants = "docs/invariants.md"

func TestDocumentsNameTestsThatExist(t *testing.T) {
	none(t, checkInvariants(t, repository, tracked(t)))
}

func TestInvariantWithoutItsTestIsFound(t *testing.T) {
	tree := fstest.MapFS{
		invariants:      {Data: []byte("| A | holds | `TestThere`, `FuzzGone` |\n| B | hopes | |\n")},
		"docs/a.md":     {Data: []byte("| a crash | loses nothing | `TestThere`, `TestGone` |\n| another | not shown | |\n")},
		"a/log_test.go": {Data: []byte("func TestThere(t *testing.T) {}\n")},
	}
	exactly(t, checkInvariants(t, tree, []string{invariants, "docs/a.md", "a/log_test.go"}),
		"FuzzGone", "invariants.md:2: no test", "docs/a.md:1: there is no TestGone")
}

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	tableRow = regexp.MustCompile(`^\| [A-Z]\d* \|`)
)

// checkInvariants finds invariants without a test, and tests that a document names and that are
// not there.
func checkInvariants(t *testing.T, tree fs.FS, files []string) (findings []string) {
	there := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(string(read(t, tree, name)), -1) {
				there[m[1]] = true
			}
		}
	}
	for _, document := range documents(files) {
		for i, line := range strings.Split(string(read(t, tree, document)), "\n") {
			names := testName.FindAllStringSubmatch(line, -1)
			if document == invariants && tableRow.MatchString(line) && len(names) == 0 {
				findings = append(findings, fmt.Sprintf("%s:%d: no test", document, i+1))
			}
			for _, m := range names {
				if !there[m[1]] {
					findings = append(findings, fmt.Sprintf("%s:%d: there is no %s", document, i+1, m[1]))
				}
			}
		}
	}
	return findings
}

const (
	design       = "docs/DESIGN.md"
	crashSection = "## What a crash does"
	// untested is how a row of the crash table begins to say why no test shows it.
	untested = "no test"
)

// TestEachCrashHasItsTest holds that each row of the crash table names the test that shows it, or
// says why there can be none; that the tests exist is held above.
func TestEachCrashHasItsTest(t *testing.T) {
	none(t, checkCrashes(string(read(t, repository, design))))
}

func checkCrashes(text string) (findings []string) {
	_, section, found := strings.Cut(text, crashSection+"\n")
	if !found {
		return []string{design + ": has no section " + crashSection}
	}
	section, _, _ = strings.Cut(section, "\n## ")
	shows := false // the table's last column says what shows it
	for row := range strings.Lines(section) {
		row = strings.TrimSpace(row)
		cells := strings.Split(strings.Trim(row, "|"), "|")
		shown := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case !strings.HasPrefix(row, "|"):
			shows = false
		case shown == "shown by":
			shows = true
		case !shows || strings.HasPrefix(row, "| ---"), testName.MatchString(shown):
		case shown == "the same", shown == "as above": // as in the row above
		case !strings.HasPrefix(shown, untested) || !strings.ContainsAny(shown, ":,"):
			findings = append(findings, fmt.Sprintf("%s: no test, and no reason for there being none: %s", design, row))
		}
	}
	return findings
}

func TestCrashWithoutItsTestIsFound(t *testing.T) {
	const text = crashSection + `

| moment | killed | shown by |
| --- | --- | --- |
| one | nothing | ` + "`TestThere`" + ` |
| two | nothing | the same |
| three | nothing | no test can: it takes a machine of its own |
| four | nothing | not shown by a test |
| five | nothing | no test |

| setting | what |
| --- | --- |
| a | b |

## Simulation

| moment | shown by |
| --- | --- |
| six | nothing |
`
	exactly(t, checkCrashes(text), "four", "five")
	exactly(t, checkCrashes("# Design"), "no section")
}
