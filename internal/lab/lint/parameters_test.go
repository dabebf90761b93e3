package lint

import (
	"fmt"
	"go/ast"
	"testing"
)

// maxParameters is how many parameters a function has at most, its receiver aside: of more, nobody
// knows at a call which is which, and some of them belong together. What a fuzz test is fed has to
// be its parameters; tests are left out.
const maxParameters = 6

func TestFunctionsHaveFewParameters(t *testing.T) {
	none(t, checkParameters(sources(t, repository, tracked(t))))
}

func checkParameters(files []source) (findings []string) {
	for _, s := range files {
		if s.test || ast.IsGenerated(s.file) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncType); ok && f.Params.NumFields() > maxParameters {
				findings = append(findings, fmt.Sprintf("%s:%d: %d parameters, at most %d", s.name, s.line(f), f.Params.NumFields(), maxParameters))
			}
			return true
		})
	}
	return findings
}

func TestManyParametersAreFound(t *testing.T) {
	const file = `package p

func few(a, b, c, d, e, f int) {}

func (r *receiver) many(a, b, c int, d, e, f, g string) {}

var literal = func(int, int, int, int, int, int, int) {}

type declared interface{ method(a, b, c, d, e, f, g int) }
`
	exactly(t, checkParameters(sources(t, plant("a.go", file), []string{"a.go"})), "a.go:5: 7", "a.go:7: 7", "a.go:9: 7")
}
