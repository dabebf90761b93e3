package cluster

import (
	"fmt"
	"testing"
)

// Which copies are taken for wrong does not depend on who asks, and is never all of them.
func TestWhoIsWrong(t *testing.T) {
	mark := func(node, digest string, refolded int) markOf { return markOf{node, Mark{9, "c", digest, refolded}} }
	for _, test := range []struct {
		marks []markOf
		want  string
	}{
		{[]markOf{mark("a", "x", 0)}, ""},
		{[]markOf{mark("a", "x", 0), mark("b", "x", 0), mark("c", "x", 0)}, ""},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "x", 0)}, "b"},
		{[]markOf{mark("a", "y", 0), mark("b", "x", 0), mark("c", "x", 0)}, "a"},
		{[]markOf{mark("a", "y", 3), mark("b", "x", 0), mark("c", "x", 0)}, "a"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0)}, "b"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 1)}, "a"},
		{[]markOf{mark("a", "x", 1), mark("b", "y", 1)}, "b"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "z", 0)}, "bc"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "z", 1)}, "ab"},
	} {
		for turn := range len(test.marks) {
			marks := append(append([]markOf{}, test.marks[turn:]...), test.marks[:turn]...)
			found := map[string]bool{}
			for _, w := range differing(marks) {
				found[w.node] = true
			}
			got := ""
			for _, m := range test.marks {
				if found[m.node] {
					got += m.node
				}
			}
			if got != test.want {
				t.Errorf("%s: wrong are %q, want %q", fmt.Sprint(marks), got, test.want)
			}
		}
	}
}
