package main

import (
	"slices"
	"time"
)

// nemesis is how the checker of internal/lab/cluster finds a mutant that another test finds sooner:
// three or four real nodes, with clients at work, while faults befall them.
type nemesis struct {
	// Mutant is the name of the bug, Test the test of the checker.
	Mutant, Test string
	// Faults are the kinds that are drawn from, and For is how long; none and 0 for a test that
	// brings its own.
	Faults string
	For    time.Duration
	// Finds is what the checker says then.
	Finds string
}

// checker is the package of the tests.
const checker = "internal/lab/cluster"

var nemeses = []nemesis{
	{
		Mutant: "at-least-ignored", Test: "TestNodesOnOutsideBrokers", Faults: "pause", For: 30 * time.Second,
		Finds: "a question with `at_least` lacks reads that were acknowledged before",
	},
	{
		Mutant: "feed-takes-the-copys-watermark", Test: "TestFewerCopiesThanNodes", Faults: "behind", For: 2 * time.Minute,
		Finds: "a connection is told of a reader twice",
	},
	{
		Mutant: "note-on-no-condition", Test: "TestNodesByThemselves", Faults: "sink,ClickHouse", For: 2 * time.Minute,
		Finds: "ClickHouse has rows twice",
	},
	{
		Mutant: "floor-of-this-node", Test: "TestSnapshotsOfNodes",
		Finds: "the log was trimmed under a node that was away",
	},
	{
		Mutant: "stale-answer-believed", Test: "TestNodesOnOutsideBrokers", Faults: "deposed", For: 3 * time.Minute,
		Finds: "a node ends, and does not become ready again",
	},
	{
		Mutant: "folded-again-for-a-lagging-answer", Test: "TestNodesByThemselves", Faults: "most servers,kill", For: 5 * time.Minute,
		Finds: "a state is folded again on a machine whose files are whole",
	},
	{
		Mutant: "outcome-before-the-fold", Test: "TestNodesOnOutsideBrokers", Faults: "pause", For: 30 * time.Second,
		Finds: "an event that the rules do not allow is said to be applied",
	},
}

// mutant is the bug, with the checker as the test that is to catch it; nil if there is none.
func (n *nemesis) mutant() *Mutant {
	i := slices.IndexFunc(mutants, func(m Mutant) bool { return m.Name == n.Mutant })
	if i < 0 {
		return nil
	}
	m := mutants[i]
	m.Package, m.Test, m.Args = checker, n.Test, nil
	if n.For > 0 {
		m.Args = []string{"-for", n.For.String(), "-faults", n.Faults}
	}
	return &m
}
