package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const root = "../../.."

var update = flag.Bool("update", false, "write "+documentFile)

// The list cannot rot: every bug can be planted, and the test that catches it exists.
func TestEveryMutantCanBePlanted(t *testing.T) {
	names := map[string]bool{}
	for i := range mutants {
		m := &mutants[i]
		if names[m.Name] {
			t.Errorf("%s: there are two of this name", m.Name)
		}
		names[m.Name] = true
		text, err := m.source(root)
		if err == nil {
			_, err = m.apply(text)
		}
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if !testExists(t, m) {
			t.Errorf("%s: there is no test %q in %s", m.Name, m.Test, m.Package)
		}
	}
}

// The bugs that the checker of a cluster has to find are in the list, and so are its tests and its
// faults.
func TestEveryNemesisCanBePlayed(t *testing.T) {
	faults, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(checker), "nemesis_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range nemeses {
		n := &nemeses[i]
		m := n.mutant()
		if m == nil || !testExists(t, m) {
			t.Errorf("%s, %s: there is no such mutant or test", n.Mutant, n.Test)
			continue
		}
		for fault := range strings.SplitSeq(n.Faults, ",") {
			if n.For > 0 && !strings.Contains(string(faults), fmt.Sprintf("\t{%q, ", fault)) {
				t.Errorf("%s: there is no fault %q", n.Mutant, fault)
			}
		}
	}
}

func testExists(t *testing.T, m *Mutant) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(m.Package), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + m.Test + `\(`)
	return m.Test != "" && slices.ContainsFunc(files, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && declared.Match(text)
	})
}

func TestDocumentIsThatOfTheList(t *testing.T) {
	path := filepath.Join(root, filepath.FromSlash(documentFile))
	if *update {
		if err := os.WriteFile(path, []byte(document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != document() {
		t.Errorf("%s is not made from the list (%v); go test ./internal/lab/mutants -update", documentFile, err)
	}
}

// quick are packages whose tests are compiled and run in seconds.
var quick = []string{
	"events", "events/eventlog/witness", "projections", "consumers/notify", "consumers/retention",
	"internal/atomicfile", "internal/writebehind", "internal/gateway", "internal/config",
}

// Two bugs are planted for real, other ones each day.
func TestSampleOfTheMutantsIsCaught(t *testing.T) {
	var list []*Mutant
	for i := range mutants {
		if m := &mutants[i]; slices.Contains(quick, m.Package) {
			list = append(list, m)
		}
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{root: absolute, dir: t.TempDir(), timeout: 3 * time.Minute}
	day := int(time.Now().Unix() / (24 * 60 * 60))
	for _, m := range []*Mutant{list[day%len(list)], list[(day+len(list)/2)%len(list)]} {
		if res := r.run(t.Context(), m); res.verdict != caught {
			t.Errorf("go run ./internal/lab/mutants --only '^%s$': %s", m.Name, describe(&res))
		}
	}
}

// A line of code, its mutants, and what is to become of each.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module example.org/x\n\ngo 1.26\n",
		"p/add.go":      "package p\n\nfunc add(a, b int) int { return a + b }\n\nfunc unused() int { return 1 }\n\nvar broken = false\n",
		"p/add_test.go": "package p\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif add(2, 3) != 5 {\n\t\tt.Error(\"five\")\n\t}\n}\n\nfunc TestZero(t *testing.T) {\n\tif add(0, 0) != 0 || broken {\n\t\tt.Error(\"zero\")\n\t}\n}\n\n",
		"q/red_test.go": "package q\n\nimport \"testing\"\n\nfunc TestRed(t *testing.T) { t.Error(\"always\") }\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &runner{root: dir, dir: t.TempDir(), timeout: time.Minute}
	for _, x := range []struct {
		mutant Mutant
		want   verdict
		detail string
	}{
		{Mutant{Old: "a + b", New: "a - b", Test: "TestAdd"}, caught, ""},
		{Mutant{Old: "a + b", New: "int(math.Hypot(float64(a), float64(b)))", Needs: "math", Test: "TestAdd"}, caught, ""},
		{Mutant{Old: "a + b", New: "[]int{}[a+b]", Test: "TestAdd"}, caught, ""}, // it panics
		{Mutant{Old: "a + b", New: "a - b", Test: "TestZero"}, elsewhere, ""},
		{Mutant{Old: "return 1", New: "return 2", Test: "TestAdd"}, survived, ""},
		{Mutant{Old: "a + b", New: "a + c", Test: "TestAdd"}, invalid, "undefined: c"},
		{Mutant{Old: "a + b", New: "a +", Test: "TestAdd"}, invalid, "expected operand"},
		{Mutant{Old: "return", New: "return 0 +", Test: "TestAdd"}, invalid, "2 times"},
		{Mutant{Old: "a * b", New: "a + b", Test: "TestAdd"}, invalid, "0 times"},
		{Mutant{Old: "a + b", New: "a - b", Test: "TestGone"}, invalid, "no such test"},
		{Mutant{Old: "a + b", New: "a - b", Test: "TestRed", Package: "q"}, red, "TestRed"},
	} {
		m := x.mutant
		m.Name, m.File, m.Package = "m", "p/add.go", cmp.Or(m.Package, "p")
		res := r.run(t.Context(), &m)
		if res.verdict != x.want || !strings.Contains(res.detail, x.detail) {
			t.Errorf("%s -> %s: %s, %q; want %s", m.Old, m.New, res.verdict, res.detail, x.want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "p/add.go")); err != nil || !strings.Contains(string(text), "a + b") {
		t.Errorf("the tree was changed: %s, %v", text, err)
	}
}
