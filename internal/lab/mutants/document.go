package main

import (
	"fmt"
	"path"
	"strings"
)

// documentFile is the table for readers.
const documentFile = "docs/mutations.md"

// document is the text of that file.
func document() string {
	var b strings.Builder
	b.WriteString(`# Mutations

A test that cannot fail proves nothing. So that the tests are known to fail when they should, bugs
are planted in receiptd, one at a time: lines that somebody might well have written. Each has to be
caught by the test command, and the test that turns red because of it is named here.

` + "```sh\ngo run ./internal/lab/mutants\ngo run ./internal/lab/mutants --only witness\n```" + `

The command plants them and runs the tests; the tree is not touched, since the compiler is handed
the changed file as an overlay. A bug counts as caught only if the test that is named turns red with
it and is green without it. The test command itself checks that every bug can still be planted where
the list says, that its test exists, and plants two of them, other ones each day.

The list is ` + "`internal/lab/mutants/list.go`" + ` and its neighbours; this page is made from it, by
` + "`go test ./internal/lab/mutants -update`" + `. A bug that no test catches is no reason to take it off the
list, but to write the test.
`)
	fmt.Fprintf(&b, "\nThere are %d.\n", len(mutants))
	b.WriteString(`
## What the checker of a cluster finds

Some of them are bugs that only show between nodes. Each is found by a small test in seconds; where
the [checker with a nemesis](cluster.md#how-it-is-tested) finds it, too, it is shown that the
checker would notice such a bug where nobody has thought of a test. The bug is then in all nodes,
while the faults that are named befall them, and the same run without it has to be green:

` + "```sh\ngo run ./internal/lab/mutants --nemesis --timeout 30m\ngo run ./internal/lab/mutants --nemesis --timeout 30m --only at-least\n```" + `

| mutant | test, faults, time | what the checker finds |
| --- | --- | --- |
`)
	for i := range nemeses {
		n := &nemeses[i]
		how := "`" + n.Test + "`"
		if n.For > 0 {
			how += fmt.Sprintf("; %s; %v", strings.ReplaceAll(n.Faults, ",", ", "), n.For)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", n.Mutant, how, n.Finds)
	}
	b.WriteString(`
Of the two that need an accident which minutes of random faults rarely bring, each has a kind of
fault that brings it. In "behind" the copy that tells others dies while the only other one has
missed something: with the bug, "pushed m-1-110 with 1 readers after 1 on one connection" within 90
seconds (17 faults). In "deposed" a node can ask nobody but a server that was cut off from the
others and takes itself for the leader: "position 428, the last entry is 42" within 150 seconds, and
the same fault without the bug, 10 times, is green.

folded-again-for-a-lagging-answer was not found in 5 minutes, nor by 16 times of "deposed", in ten
of which the server had been made to lead all streams before: a node that starts waits, for what
the servers have to agree on, until the cut has healed, and compares its state after that, so that
what lags would have to lag within those milliseconds. Its small test finds it.
`)
	var sections []string
	rows := map[string]string{}
	for i := range mutants {
		m := &mutants[i]
		section := path.Dir(m.File)
		if rows[section] == "" {
			sections = append(sections, section)
		}
		test := "`" + m.Test + "`"
		if m.Package != section {
			test += " in `" + m.Package + "`"
		}
		rows[section] += fmt.Sprintf("| %s (`%s`) | %s | %s |\n", m.Name, path.Base(m.File), m.Bug, test)
	}
	for _, section := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| mutant | what is wrong | caught by |\n| --- | --- | --- |\n%s", section, rows[section])
	}
	return b.String()
}
