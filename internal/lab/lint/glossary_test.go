package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// wordsOf has words that had several meanings, each of which has a name of its own in the glossary
// of docs/rules.md now: in which folders, and those below, what is declared may still be called so.
// There it has the glossary's meaning.
var wordsOf = map[string][]string{
	"mark":  {"events", "projections", "consumers/notify", "schema/client", "internal/gateway/httpapi"},
	"place": {"projections", "internal/gateway", "internal/web"},
	"turn":  {"consumers/projector", "events/eventlog", "internal/accounts", "internal/fair", "internal/gateway", "internal/inbox"},
	"vain":  {},
	"wish":  {},
}

func TestWordsHaveOneMeaning(t *testing.T) {
	none(t, checkMeanings(product(sources(t, repository, tracked(t)))))
}

// product leaves the instruments out, the model and what makes histories among them.
func product(files []source) []source {
	return slices.DeleteFunc(files, func(s source) bool { return strings.HasPrefix(s.name, "internal/lab/") })
}

func checkMeanings(files []source) (findings []string) {
	for _, s := range files {
		if ast.IsGenerated(s.file) {
			continue
		}
		for _, id := range declared(s.file) {
			for _, w := range wordsIn(id.Name) {
				folders, is := wordsOf[w]
				if is && !slices.ContainsFunc(folders, func(f string) bool { return isBelow(path.Dir(s.name), f) }) {
					findings = append(findings, fmt.Sprintf("%s:%d: %s: the glossary of docs/rules.md has another word here than %s",
						s.name, s.line(id), id.Name, w))
				}
			}
		}
	}
	return findings
}

func isBelow(folder, root string) bool { return folder == root || strings.HasPrefix(folder, root+"/") }

// declared are the names that a file declares, those of fields, parameters and variables as well.
func declared(f *ast.File) (names []*ast.Ident) {
	add := func(list ...ast.Expr) {
		for _, x := range list {
			if id, ok := x.(*ast.Ident); ok {
				names = append(names, id)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			names = append(names, n.Names...)
		case *ast.Field:
			names = append(names, n.Names...)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				add(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key, n.Value)
			}
		}
		return true
	})
	return names
}

// wordsIn are the words of a name in lower case, and in their shortest form: mark for Marked and
// for marks.
func wordsIn(name string) (words []string) {
	start := 0
	letters := []rune(name)
	for i := 1; i <= len(letters); i++ {
		if i < len(letters) && (!unicode.IsUpper(letters[i]) || unicode.IsUpper(letters[i-1])) {
			continue
		}
		w := strings.ToLower(string(letters[start:i]))
		for _, ending := range []string{"", "s", "es", "d", "ed"} {
			if short, ok := strings.CutSuffix(w, ending); ok && (ending == "" || wordsOf[short] != nil) {
				words = append(words, short)
			}
		}
		start = i
	}
	return words
}

func TestWordsWithAnotherMeaningAreFound(t *testing.T) {
	const file = `package p

type MarkAt struct{ placed, replaced, watermark int }

func (m MarkAt) wishedFor(turns int) (returned bool) {
	for mark, x := range []int{turns} {
		place := mark + x
		placement, marker := place, x
		m.watermark = placement + marker
	}
	return true
}
`
	exactly(t, checkMeanings(sources(t, plant("a/a.go", file), []string{"a/a.go"})),
		"a/a.go:3: MarkAt", "a/a.go:3: placed", "a/a.go:5: wishedFor", "a/a.go:5: turns", "a/a.go:6: mark", "a/a.go:7: place")
	const kept = "package p\n\nvar marked, turns int\n"
	exactly(t, checkMeanings(sources(t, plant("events/x/a.go", kept, "eventsx/a.go", kept), []string{"events/x/a.go", "eventsx/a.go"})),
		"events/x/a.go:3: turns", "eventsx/a.go:3: marked", "eventsx/a.go:3: turns")
}
