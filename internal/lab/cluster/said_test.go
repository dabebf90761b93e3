package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dishonest are errors of answers that no node gives, whatever befalls it: one that is taken for
// such is refused for nothing.
var dishonest = []string{"its effects are not those of the entries that it names", "the answer is to something else"}

// tellSaid prints what the nodes have warned of and how often, and holds that none has refused
// another one as one that lies.
func (c *client) tellSaid() {
	said := map[string]int{}
	for _, n := range c.nodes {
		for line := range strings.Lines(n.said()) {
			if level := logField(line, "level"); level != "WARN" && level != "ERROR" {
				continue
			}
			said[logField(line, "level")+" "+logField(line, "msg")]++
			if slices.ContainsFunc(dishonest, func(text string) bool { return strings.Contains(line, text) }) {
				c.t.Errorf("%s: %s", n.name, line)
			}
		}
	}
	var text strings.Builder
	for _, what := range slices.Sorted(maps.Keys(said)) {
		fmt.Fprintf(&text, "%6d  %s\n", said[what], what)
	}
	c.t.Logf("what the nodes warned of:\n%s", text.String())
}

// logField is a field of a line of a log, without its quotes; empty if it has none.
func logField(line, key string) string {
	_, rest, found := strings.Cut(line, key+"=")
	if !found {
		return ""
	}
	if text, quoted := strings.CutPrefix(rest, `"`); quoted {
		text, _, _ = strings.Cut(text, `" `)
		return strings.TrimSuffix(text, `"`)
	}
	text, _, _ := strings.Cut(rest, " ")
	return text
}
