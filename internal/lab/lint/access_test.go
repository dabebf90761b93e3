package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"testing"
)

// accessRules is where the edges' rules of access are, each once.
const accessRules = "internal/gateway/access.go"

// decidesAccess are what only a rule of access looks at: the settings that say who sees what, and
// whether a user hides their reads.
var decidesAccess = []string{"Visibility", "Reciprocal", "SeesNobody"}

// TestEachAccessRuleIsOnce holds that an edge decides nothing of its own about who may see what.
func TestEachAccessRuleIsOnce(t *testing.T) {
	none(t, checkAccess(sources(t, repository, tracked(t))))
}

func checkAccess(files []source) (findings []string) {
	for _, s := range files {
		edge := below(s.dir, "internal/gateway") || below(s.dir, "internal/web")
		if !edge || s.test || s.name == accessRules {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if x, ok := n.(*ast.SelectorExpr); ok && slices.Contains(decidesAccess, x.Sel.Name) {
				findings = append(findings, fmt.Sprintf("%s:%d: %s is for the rules in %s", s.name, s.line(x), x.Sel.Name, accessRules))
			}
			return true
		})
	}
	return findings
}

func TestSecondAccessRuleIsFound(t *testing.T) {
	const rule = "package p\n\nvar may = s.Visibility == \"members\"\n"
	for name, want := range map[string]bool{
		"internal/gateway/httpapi/a.go": true, "internal/web/a.go": true,
		accessRules: false, "internal/gateway/httpapi/a_test.go": false, "projections/a.go": false,
	} {
		found := checkAccess(sources(t, plant(name, rule), []string{name}))
		if want != (len(found) == 1) {
			t.Errorf("%s: %q", name, found)
		}
	}
}
