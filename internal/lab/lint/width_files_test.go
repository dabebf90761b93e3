package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCommentsOfOtherFilesAreShort(t *testing.T) {
	none(t, checkOtherWidth(t, repository, commented(tracked(t))))
}

// marks are what begins a comment that has a line to itself, by the ending of a file's name.
var marks = map[string]string{
	".yaml": "#", ".yml": "#", ".conf": "#", ".sh": "#", ".service": "#", "": "#",
	".js": "//", ".mjs": "//", ".ts": "//", ".proto": "//",
}

// commented lists the files whose comments are looked at: not those of testdata, nor generated
// ones. Migrations of ClickHouse stay as they were applied, however wide.
func commented(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		return marks[path.Ext(name)] == "" || slices.Contains(strings.Split(name, "/"), "testdata") ||
			strings.Contains(name, ".gen.") || path.Base(name) == "LICENSE"
	})
}

// checkOtherWidth returns the lines that are too long of comments that have a line to themselves
// and, in YAML, of blocks of text. Let off are addresses, and what is one long word.
func checkOtherWidth(t *testing.T, tree fs.FS, files []string) (findings []string) {
	for _, name := range files {
		text := string(read(t, tree, name))
		inBlock := make([]bool, strings.Count(text, "\n")+1)
		if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
			inBlock = blockScalars(text)
		}
		mark := marks[path.Ext(name)]
		for i, line := range strings.Split(text, "\n") {
			words, isComment := strings.CutPrefix(strings.TrimSpace(line), mark)
			n := columns(bareURL.ReplaceAllString(line, ""))
			if n > maxColumns && (isComment || inBlock[i]) && len(strings.Fields(words)) > 2 {
				findings = append(findings, fmt.Sprintf("%s:%d: %d columns, at most %d", name, i+1, n, maxColumns))
			}
		}
	}
	return findings
}

var blockHeader = regexp.MustCompile(`^( *(?:- )?)[^ #][^#]*: [|>][-+]?$`)

// blockScalars says of each line of a YAML text whether it is one of a block of text, without the
// code and the tables in that.
func blockScalars(text string) []bool {
	lines := strings.Split(text, "\n")
	in := make([]bool, len(lines))
	for i := 0; i < len(lines); i++ {
		header := blockHeader.FindStringSubmatch(lines[i])
		if header == nil {
			continue
		}
		begin := i + 1
		for i+1 < len(lines) && (strings.TrimSpace(lines[i+1]) == "" || indent(lines[i+1]) > len(header[1])) {
			i++
		}
		if begin > i {
			continue
		}
		// Below the header, the text is as Markdown that is moved to the right.
		block := slices.Clone(lines[begin : i+1])
		for j := range block {
			block[j] = block[j][min(len(block[j]), indent(lines[begin])):]
		}
		for j, line := range prose(strings.Join(block, "\n")) {
			in[begin+j] = line != "" && !strings.HasPrefix(strings.TrimSpace(line), "|")
		}
	}
	return in
}

// indent is how many spaces a line begins with.
func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func TestLongLinesOfOtherFilesAreFound(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 21)) // 104 columns
	tree := plant("a.yaml", strings.Join([]string{
		"# " + long, // 1
		"a: " + long, "b: {description: " + long + "}",
		"c: |",
		"  " + long, // 5
		"", "  ```", "  " + long, "  ```", "  | " + long + " |",
		"  " + long, // 11
		"d: x", "- e: >-",
		"    " + long, // 14
		"  f: " + long, "  # https://example.org/" + strings.Repeat("x", 100),
	}, "\n"),
		"b.js", "// "+long+"\nf('"+long+"')\n",
		"c", "#!/bin/sh\necho "+long+"\n# "+long+"\n",
		"d.gen.ts", "// "+long, "x/testdata/e.yaml", "# "+long)
	exactly(t, checkOtherWidth(t, tree, commented([]string{"a.yaml", "b.js", "c", "d.gen.ts", "x/testdata/e.yaml"})),
		"a.yaml:1: 106 columns", "a.yaml:5: 106 columns", "a.yaml:11: 106 columns", "a.yaml:14: 108 columns",
		"b.js:1: 107 columns", "c:3: 106 columns")
}
