package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// A test that sleeps is slow where the machine is fast, and fails where it is slow, unless there is
// a reason for it, such as that something must not happen meanwhile. The reason is written beside
// the sleep.
func TestSleepsHaveAReason(t *testing.T) {
	none(t, checkSleeps(sources(t, repository, tracked(t))))
}

// checkSleeps returns the calls of time.Sleep in tests without a comment on their line or above it.
// A loop that ends by what it sees may sleep between looks, and nobody waits in a bubble of
// testing/synctest.
func checkSleeps(files []source) (findings []string) {
	for _, s := range files {
		if !s.test {
			continue
		}
		ast.PreorderStack(s.file, nil, func(n ast.Node, path []ast.Node) bool {
			if isCall(n, "time", "Sleep") && !polls(path) && !s.explained(n) {
				findings = append(findings, fmt.Sprintf("%s:%d: sleeps without a reason beside it", s.name, s.line(n)))
			}
			return !isCall(n, "synctest", "Test")
		})
	}
	return findings
}

// explained reports whether there is a comment on the line of a node, or above on lines of its own.
func (s source) explained(n ast.Node) bool {
	at := s.fset.Position(n.Pos())
	return slices.ContainsFunc(s.file.Comments, func(c *ast.CommentGroup) bool {
		begin, end := s.fset.Position(c.Pos()), s.fset.Position(c.End())
		return begin.Line == at.Line || end.Line == at.Line-1 && begin.Column <= at.Column
	})
}

// polls reports whether the innermost loop of a path ends by what it sees: it has a condition with
// a call in it, or can be left. Loops outside the innermost function do not count.
func polls(path []ast.Node) bool {
	for i := len(path) - 1; i >= 0; i-- {
		switch n := path[i].(type) {
		case *ast.FuncLit, *ast.FuncDecl:
			return false
		case *ast.ForStmt:
			return n.Cond != nil && contains(n.Cond, calls) || contains(n.Body, leaves)
		case *ast.RangeStmt:
			return contains(n.Body, leaves)
		}
	}
	return false
}

func calls(n ast.Node) bool {
	_, ok := n.(*ast.CallExpr)
	return ok
}

func leaves(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.BranchStmt:
		return n.Tok == token.BREAK
	}
	return false
}

// isCall reports whether a node calls a function of a package.
func isCall(n ast.Node, pkg, function string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != function {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// contains reports whether a node, or one in it, is such.
func contains(in ast.Node, is func(ast.Node) bool) (found bool) {
	ast.Inspect(in, func(n ast.Node) bool {
		found = found || is(n)
		return !found
	})
	return found
}

func TestSleepsWithoutAReasonAreFound(t *testing.T) {
	test := func(body string) string {
		return "package x\nfunc f() {\n" + body + "\n}\n"
	}
	tree := plant(
		"x.go", test("time.Sleep(1)"),
		"a_test.go", test("time.Sleep(1)"),
		"b_test.go", test("// nothing may come meanwhile\ntime.Sleep(1)\ntime.Sleep(1) // nor now\ntime.Sleep(1)"),
		"c_test.go", test("for !done() {\ntime.Sleep(1)\n}\nfor {\nif x { break }\ntime.Sleep(1)\n}\nfor range 3 {\ntime.Sleep(1)\n}"),
		"d_test.go", test("for !done() {\ngo func() { time.Sleep(1) }()\n}"),
		"e_test.go", test("synctest.Test(t, func(t *testing.T) {\ntime.Sleep(1)\n})"))
	exactly(t, checkSleeps(sources(t, tree, []string{"x.go", "a_test.go", "b_test.go", "c_test.go", "d_test.go", "e_test.go"})),
		"a_test.go:3", "b_test.go:6", "c_test.go:11", "d_test.go:4")
}
