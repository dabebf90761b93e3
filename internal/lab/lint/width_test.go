package lint

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is the width of a line of text: in Markdown, in comments, and in the texts of YAML.
const maxColumns = 100

func TestMarkdownLinesAreShort(t *testing.T) {
	none(t, checkMarkdownWidth(t, repository, markdown(tracked(t))))
}

func TestGoCommentsAreShort(t *testing.T) {
	none(t, checkCommentWidth(t, repository, sources(t, repository, tracked(t))))
}

// markdown lists the Markdown files, without those of testdata.
func markdown(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		return path.Ext(name) != ".md" || slices.Contains(strings.Split(name, "/"), "testdata")
	})
}

// columns is the width of a line; a tab counts as four.
func columns(line string) int {
	return utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
}

var (
	linkTarget = regexp.MustCompile(`\]\([^)]*\)`)
	bareURL    = regexp.MustCompile(`https?://\S+`)
)

// checkMarkdownWidth returns the lines that are too long. Tables, blocks of code and addresses are
// let off: they cannot be wrapped.
func checkMarkdownWidth(t *testing.T, tree fs.FS, documents []string) (findings []string) {
	for _, document := range documents {
		for i, line := range prose(string(read(t, tree, document))) {
			if strings.HasPrefix(strings.TrimSpace(line), "|") {
				continue
			}
			line = bareURL.ReplaceAllString(linkTarget.ReplaceAllString(line, "]"), "")
			if n := columns(line); n > maxColumns {
				findings = append(findings, fmt.Sprintf("%s:%d: %d columns, at most %d", document, i+1, n, maxColumns))
			}
		}
	}
	return findings
}

var listItem = regexp.MustCompile(`^\s*([-*+]|\d+[.)])\s`)

// prose is the lines of a Markdown text, with those of blocks of code, fenced or indented,
// left empty.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	fenced, indented, list := false, false, false
	blank := true
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		deep := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t")
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			lines[i] = ""
		case fenced:
			lines[i] = ""
		case trimmed == "":
		case deep && !list && (blank || indented):
			indented = true
			lines[i] = ""
		default:
			indented = false
			// What is indented below an item is the item's text.
			list = listItem.MatchString(line) || list && strings.HasPrefix(line, " ")
		}
		blank = trimmed == ""
	}
	return lines
}

// checkCommentWidth returns the lines of comments that end too far to the right, whether they have
// code before them or not. Let off are generated files, directives, the code in doc comments and in
// front of import "C", and lines that are one long word, such as an address.
func checkCommentWidth(t *testing.T, tree fs.FS, list []source) (findings []string) {
	for _, s := range list {
		if ast.IsGenerated(s.file) {
			continue
		}
		lines := strings.Split(string(read(t, tree, s.name)), "\n")
		preamble := cPreamble(s.file)
		for _, group := range s.file.Comments {
			if group == preamble {
				continue
			}
			for _, comment := range group.List {
				for i, text := range strings.Split(comment.Text, "\n") {
					line := s.line(comment) + i
					n := columns(lines[line-1])
					if n > maxColumns && !cannotWrap(text) {
						findings = append(findings, fmt.Sprintf("%s:%d: %d columns, at most %d", s.name, line, n, maxColumns))
					}
				}
			}
		}
	}
	return findings
}

var directive = regexp.MustCompile(`^//([a-z0-9]+:[a-z0-9]|export |line |nolint)`)

// cannotWrap reports whether a line of a comment is as long as it has to be.
func cannotWrap(text string) bool {
	return directive.MatchString(text) || strings.HasPrefix(text, "//\t") || len(strings.Fields(text)) <= 2
}

// cPreamble is the comment in front of import "C", which is C; nil for none.
func cPreamble(file *ast.File) *ast.CommentGroup {
	for _, declaration := range file.Decls {
		d, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			if i, ok := spec.(*ast.ImportSpec); ok && i.Path.Value == `"C"` {
				return d.Doc
			}
		}
	}
	return nil
}

func TestLongMarkdownLinesAreFound(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 21))
	tree := plant("a.md", strings.Join([]string{
		"# Title", "",
		long, // 3
		"", "| " + long + " |", "",
		"```", long, "```", "",
		"    " + long, "    " + long, "",
		"- item", "  " + long, // 15
		"", "    " + long, // 17, still the item's
		"", "Text [with a link](" + strings.Repeat("x", 100) + ") and https://example.org/" + strings.Repeat("x", 100),
		strings.Repeat("ö", 100),
		strings.Repeat("ö", 101), // 21
	}, "\n"))
	exactly(t, checkMarkdownWidth(t, tree, markdown([]string{"a.md", "b.go", "x/testdata/c.md"})),
		"a.md:3: 104 columns", "a.md:15: 106 columns", "a.md:17: 108 columns", "a.md:21: 101 columns")
}

func TestLongCommentsAreFound(t *testing.T) {
	words := strings.TrimSpace(strings.Repeat("word ", 20)) // 99 columns
	lines := []string{
		"// " + words, // 1
		"package a", "",
		"// #define X " + words, `import "C"`, "",
		"//go:generate " + words, "",
		"// F does.", "//", "//\tcode " + words, "// https://example.org/" + strings.Repeat("x", 100),
		"func F() {",
		"\t// " + strings.Repeat("x ", 46) + "xx", // 101 with the tab
		"\t_ = `", "// " + words, "\t`",
		"\t_ = 1 // " + words,           // 18
		"\t/* a", words + " word", "*/", // 20
		"}", "",
	}
	tree := plant("a.go", strings.Join(lines, "\n"),
		"g.go", "// Code generated by hand. DO NOT EDIT.\n\npackage a\n\n// "+words+"\n")
	exactly(t, checkCommentWidth(t, tree, sources(t, tree, []string{"a.go", "g.go"})),
		"a.go:1: 102 columns", "a.go:14: 101 columns", "a.go:18: 112 columns", "a.go:20: 104 columns")
}
