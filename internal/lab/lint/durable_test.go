package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// durable is the package that makes, replaces and renames files so that a power failure leaves them
// whole and with their names.
const durable = "internal/atomicfile"

// makesFiles are the functions of package os that leave a name in a directory which is not synced.
var makesFiles = []string{"Rename", "WriteFile", "Create", "Link", "Symlink", "OpenFile"}

// makesByItself are the functions of the product that make files without that package, and why.
var makesByItself = map[string]string{
	"events/eventlog/guard.go linkTree":            "raise syncs the whole tree before it has its name",
	"events/eventlog/guard.go restoreGuarded":      "it syncs the directories that it put something into",
	"events/eventlog/blockfile/mend.go linkAside":  "it syncs the directory",
	"events/eventlog/blocklinks.go keep":           "the hard link is made durable by its rename",
	"events/eventlog/blocklinks.go putBackKept":    "it syncs the directory",
	"events/eventlog/witness/witness.go overwrite": "in place, and it syncs the directory of a file that it made",
	"internal/snapshot/reader.go file":             "files syncs the directory when all of them are there",
	"cmd/receiptctl/prove.go Run":                  "a file for whoever asked, who can ask again",
	"cmd/receiptctl/curve.go writePicture":         "a picture of a measurement",
	"cmd/receiptctl/bench.go Run":                  "a profile",
	"events/eventlog/blocklinks.go syncFile":       "it opens what is there",
	"internal/diskread/open_linux.go open":         "it opens what is there",
}

// TestFilesAreMadeDurably holds that there is one way to make a file and its name durable.
func TestFilesAreMadeDurably(t *testing.T) {
	findings, used := checkDurable(sources(t, repository, tracked(t)))
	none(t, findings)
	for name := range makesByItself {
		if !slices.Contains(used, name) {
			t.Errorf("%s makes no file", name)
		}
	}
}

// checkDurable returns the functions of the product that make files by themselves without being in
// the table, and those that are in it. So is a function named like those of the package.
func checkDurable(files []source) (findings, used []string) {
	for _, s := range files {
		if s.test || s.dir == durable || below(s.dir, instruments) {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if strings.EqualFold(f.Name.Name, "SyncDir") && !takes(f, "vfs", "FS") {
				findings = append(findings, fmt.Sprintf("%s:%d: %s has such a function", s.name, s.line(f), durable))
			}
			name := s.name + " " + f.Name.Name
			ast.Inspect(f, func(n ast.Node) bool {
				switch made := slices.IndexFunc(makesFiles, func(function string) bool { return isCall(n, "os", function) }); {
				case made < 0:
				case makesByItself[name] != "":
					used = append(used, name)
				default:
					findings = append(findings, fmt.Sprintf("%s:%d: os.%s, whose name power loss may take; use %s", s.name, s.line(n), makesFiles[made], durable))
				}
				return true
			})
		}
	}
	return findings, used
}

// takes reports whether a function has a parameter of a type of another package.
func takes(f *ast.FuncDecl, pkg, name string) bool {
	return contains(f.Type.Params, func(n ast.Node) bool {
		x, ok := n.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		of, ok := x.X.(*ast.Ident)
		return ok && of.Name == pkg && x.Sel.Name == name
	})
}

func TestFileThatPowerLossTakesIsFound(t *testing.T) {
	check := func(name, code string) []string {
		findings, _ := checkDurable(sources(t, plant(name, "package p\n\n"+code), []string{name}))
		return findings
	}
	const rename = "func f() error { return os.Rename(a, b) }\n"
	exactly(t, check("events/eventlog/a.go", rename), "os.Rename")
	exactly(t, check("internal/notary/a.go", "func (k *key) f() { go func() { os.WriteFile(a, b, 0o600) }() }\n"), "os.WriteFile")
	exactly(t, check("internal/backup/a.go", "func syncDir(dir string) error { return nil }\n"), "such a function")
	exactly(t, check("consumers/internal/fold/a.go", "func syncDir(disk vfs.FS, dir string) error { return nil }\n"))
	exactly(t, check(durable+"/a.go", rename))
	exactly(t, check("internal/lab/faults/a.go", rename))
	exactly(t, check("events/eventlog/a_test.go", rename))
}
