package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

const root = "../../../"

var update = flag.Bool("update", false, "put the tables into docs/scaling.md")

func TestDocumentHasTheTables(t *testing.T) {
	const name, begin, end = root + "docs/scaling.md", "<!-- begin tables -->\n", "<!-- end tables -->"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	tables, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("docs/scaling.md has no place for the tables")
	}
	want := "\n" + Tables() + "\n"
	if *update {
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tables != want {
		t.Error("docs/scaling.md has other tables than the program: go test ./internal/lab/scaling -update")
	}
}

// What is called measured stands where it is said to, with that value.
func TestMeasuredValuesAreThoseOfTheDocuments(t *testing.T) {
	check := func(f figure) error {
		text, err := os.ReadFile(root + f.document)
		if err != nil {
			return err
		}
		if words := strings.Join(strings.Fields(string(text)), " "); !strings.Contains(words, f.quote) {
			return fmt.Errorf("%s: %s does not say %q", f.what, f.document, f.quote)
		}
		if !strings.Contains(f.quote, fmt.Sprint(f.value)) {
			return fmt.Errorf("%s: %q does not say %v", f.what, f.quote, f.value)
		}
		return nil
	}
	for _, f := range measured {
		if err := check(f); err != nil {
			t.Error(err)
		}
		wrong := f
		wrong.value += 0.77
		if check(wrong) == nil {
			t.Errorf("%s: %v passes", f.what, wrong.value)
		}
	}
	for _, f := range assumed {
		if f.document != "" || f.reason == "" {
			t.Errorf("%s: an assumption has a reason and no document", f.what)
		}
	}
}

// holds returns an error if a scenario breaks what plans promise.
func holds(s scenario) error {
	r := simulate(s)
	switch {
	case r.worst > lagBound.value:
		return fmt.Errorf("answers are %.2f s old", r.worst)
	case r.waited > election.value+1:
		return fmt.Errorf("producers wait %.1f s", r.waited)
	case r.caughtUp > s.back-s.crash:
		return fmt.Errorf("the node that came back took %.0f s to catch up", r.caughtUp)
	}
	return nil
}

func TestPlansHoldTheLagBoundWithANodeAway(t *testing.T) {
	seeds := uint64(5)
	if testing.Short() {
		seeds = 1
	}
	for _, users := range sizes {
		p := planFor(users)
		for seed := range seeds {
			s := scenarioOf(p, nodeCores.value)
			s.seed = seed
			if err := holds(s); err != nil {
				t.Errorf("%s users, seed %d: %v", amount(users), seed, err)
			}
		}
	}
}

func TestPlansThatAreTooSmallAreFound(t *testing.T) {
	p := planFor(1e9)
	if holds(scenarioOf(p, tooFew(p))) == nil {
		t.Error("nodes without the processors for the peak pass")
	}
	few := p
	few.partitions = 2 // one processor each, whatever the nodes have
	if holds(scenarioOf(few, nodeCores.value)) == nil {
		t.Error("folds that each get more than they can take pass")
	}
	// Enough to follow with all nodes, and not to catch up.
	if holds(scenarioOf(onEachNode(p), (p.edgeCores/3+p.copyCores)*1.03)) == nil {
		t.Error("nodes that can only just follow pass")
	}
}

// The simulation comes to what a calculation of one queue says: a fold that was away for a time
// catches up in that time, by how much faster it folds than receipts come.
func TestSimulationAgreesWithOneQueue(t *testing.T) {
	p := planFor(100e6)
	p.nodes, p.partitions = 3, 2 // of many, those that catch up share processors
	s := scenarioOf(p, nodeCores.value)
	rate := p.peak / float64(p.partitions)
	limit := foldRate(p.day * stateDays.value)
	// Level is a lag of the bound, not of nothing.
	want := ((s.back-s.crash)*rate - lagBound.value*limit) / (limit - rate)
	if got := simulate(s).caughtUp; math.Abs(got-want) > 0.15*want {
		t.Errorf("caught up after %.1f s, one queue says %.1f s", got, want)
	}
}

func TestMoreUsersNeverTakeLess(t *testing.T) {
	before := planFor(1e5)
	for users := 2e5; users <= 1e10; users *= 1.7 {
		p := planFor(users)
		if p.nodes < before.nodes || p.partitions < before.partitions || p.brokers < before.brokers || p.clickhouseNodes < before.clickhouseNodes {
			t.Errorf("%s users take less than fewer: %+v, %+v", amount(users), p, before)
		}
		before = p
	}
}
