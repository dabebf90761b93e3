package main

import (
	"fmt"
	"math"
	"strings"
)

// sizes are the numbers of users that are planned for.
var sizes = []float64{1e6, 100e6, 1e9}

// Tables returns the generated part of docs/scaling.md.
func Tables() string {
	var b strings.Builder
	b.WriteString("### What was measured\n\n| what | value | where |\n| --- | --- | --- |\n")
	for _, f := range measured {
		fmt.Fprintf(&b, "| %s | %g %s | `%s` |\n", f.what, f.value, f.unit, f.document)
	}
	b.WriteString("\n### What is assumed\n\n| what | value | why |\n| --- | --- | --- |\n")
	for _, f := range assumed {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.what, strings.TrimSpace(fmt.Sprintf("%g %s", f.value, f.unit)), f.reason)
	}
	var plans []plan
	for _, users := range sizes {
		plans = append(plans, planFor(users))
	}
	b.WriteString("\n### What it takes\n\n")
	row(&b, plans, "users", func(p plan) string { return amount(p.users) })
	b.WriteString("| --- |" + strings.Repeat(" --- |", len(plans)) + "\n")
	row(&b, plans, "receipts a day", func(p plan) string { return amount(p.day) })
	row(&b, plans, "receipts a second, mean; peak", func(p plan) string { return amount(p.mean) + "; " + amount(p.peak) })
	row(&b, plans, "log a day", func(p plan) string { return size(p.logDay) })
	row(&b, plans, "log kept, all replicas", func(p plan) string { return size(p.logKept) })
	row(&b, plans, "state after a year, a copy", func(p plan) string { return size(p.stateYear) })
	row(&b, plans, "a copy, s of processor a million", func(p plan) string { return fmt.Sprintf("%.2f", p.cost.copy) })
	row(&b, plans, "processors at peak: edges; a copy of all; a broker", func(p plan) string {
		return fmt.Sprintf("%.2g; %.2g; %.2g", p.edgeCores, p.copyCores, p.brokerCores/float64(p.brokers))
	})
	row(&b, plans, "partitions", func(p plan) string { return fmt.Sprint(p.partitions) })
	row(&b, plans, "nodes for processors; for disks", func(p plan) string { return fmt.Sprintf("%d; %d", p.forProcessors, p.forDisks) })
	row(&b, plans, "**nodes**, with copies of each partition", func(p plan) string { return fmt.Sprintf("**%d**, %d", p.nodes, p.copies) })
	row(&b, plans, "nodes more if all clients use the SDK's protocol", func(p plan) string { return fmt.Sprint(p.forConnections) })
	row(&b, plans, "**brokers**, of which disks ask for", func(p plan) string { return fmt.Sprintf("**%d**, %d", p.brokers, p.brokersForDisks) })
	row(&b, plans, "ClickHouse after a year, all replicas", func(p plan) string { return size(p.clickYear) })
	row(&b, plans, "ClickHouse shards for rows; for disks", func(p plan) string { return fmt.Sprintf("%d; %d", p.shardsForRows, p.shardsForDisks) })
	row(&b, plans, "**ClickHouse servers**", func(p plan) string { return fmt.Sprintf("**%d**", p.clickhouseNodes) })

	b.WriteString("\n### What the simulation says\n\n| plan | nodes, processors of each | busiest node | lag p99 | lag at most | producers wait at most | caught up after |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, p := range plans {
		outcome(&b, amount(p.users)+" users", scenarioOf(p, nodeCores.value))
	}
	last := plans[len(plans)-1]
	outcome(&b, "the last one, everything on each of three nodes", scenarioOf(onEachNode(last), nodeCores.value))
	outcome(&b, "the last one, too few processors", scenarioOf(last, tooFew(last)))
	return b.String()
}

// scenarioOf is five minutes of peak with a node away for two of them.
func scenarioOf(p plan, cores float64) scenario {
	return scenario{plan: p, cores: cores, seed: 1, crash: 30, back: 150, end: 300}
}

// onEachNode is a plan with no more nodes than copies: each folds all of it.
func onEachNode(p plan) plan {
	p.nodes = p.copies
	return p
}

// tooFew is a number of processors with which the nodes of a plan cannot do the work of the peak.
func tooFew(p plan) float64 {
	work := p.edgeCores + float64(p.copies)*p.copyCores
	return math.Floor(0.9*work/float64(p.nodes)*100) / 100
}

func outcome(b *strings.Builder, name string, s scenario) {
	r := simulate(s)
	caughtUp := "never"
	if !math.IsInf(r.caughtUp, 1) {
		caughtUp = fmt.Sprintf("%.0f s", math.Ceil(r.caughtUp))
	}
	fmt.Fprintf(b, "| %s | %d, %g | %.0f %% | %.2f s | %.2f s | %.1f s | %s |\n", name, s.plan.nodes, s.cores, 100*r.busiest, r.p99, r.worst, r.waited, caughtUp)
}

func row(b *strings.Builder, plans []plan, what string, cell func(plan) string) {
	fmt.Fprintf(b, "| %s |", what)
	for _, p := range plans {
		fmt.Fprintf(b, " %s |", cell(p))
	}
	b.WriteString("\n")
}

// amount writes a number in thousands (k), millions (M) or thousands of millions (G).
func amount(x float64) string { return scaled(x, "") }

// size writes a number of bytes.
func size(x float64) string { return scaled(x, "B") }

func scaled(x float64, unit string) string {
	for _, s := range []struct {
		of   float64
		name string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= s.of {
			return strings.TrimSpace(fmt.Sprintf("%.3g %s%s", x/s.of, s.name, unit))
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", x, unit))
}
