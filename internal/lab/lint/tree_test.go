package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// root is the module's directory, seen from this one.
const root = "../../.."

// repository is the tree under test.
var repository = os.DirFS(root)

// tracked lists the files of the repository that are in version control or about to be. A tree
// without version control, such as an unpacked archive, has only what belongs to it.
func tracked(t *testing.T) []string {
	t.Helper()
	git := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = root
	out, err := git.Output()
	if err != nil {
		t.Logf("git ls-files: %v; looking at every file", err)
		return allFiles(t, repository)
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := fs.Stat(repository, name); err == nil {
			files = append(files, name)
		}
	}
	return files
}

// allFiles lists every file of a tree.
func allFiles(t *testing.T, tree fs.FS) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == ".git" {
			return fs.SkipDir
		}
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// source is one parsed Go file.
type source struct {
	name string // path in the tree
	dir  string // package directory
	test bool
	fset *token.FileSet
	file *ast.File
}

// sources parses the Go files of a list, without those of testdata.
func sources(t *testing.T, tree fs.FS, files []string) []source {
	t.Helper()
	var list []source
	for _, name := range files {
		if path.Ext(name) != ".go" || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		s := source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		var err error
		s.file, err = parser.ParseFile(s.fset, name, read(t, tree, name), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// line is the line of a node of s.
func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

func read(t *testing.T, tree fs.FS, name string) []byte {
	t.Helper()
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// plant makes a tree of name, content, name, content, ….
func plant(pairs ...string) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		tree[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return tree
}

// none fails the test for each finding.
func none(t *testing.T, findings []string) {
	t.Helper()
	for _, finding := range findings {
		t.Error(finding)
	}
}

// exactly fails the test unless each finding has the wanted text in it, in order.
func exactly(t *testing.T, findings []string, want ...string) {
	t.Helper()
	if len(findings) != len(want) {
		t.Fatalf("%d findings, want %d: %q", len(findings), len(want), findings)
	}
	for i := range want {
		if !strings.Contains(findings[i], want[i]) {
			t.Errorf("finding %q, want %q", findings[i], want[i])
		}
	}
}
