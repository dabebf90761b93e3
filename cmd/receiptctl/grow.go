package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/grow"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/progress"
)

// growCommand measures what the size of the state costs.
type growCommand struct {
	sim.Flags `embed:""`

	JSON     bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	First    int           `default:"1000000" placeholder:"N" help:"Receipts in the state that is measured first."`
	Receipts int           `default:"100000000" placeholder:"N" help:"Receipts in the state that is compared with it."`
	Rate     float64       `default:"300000" placeholder:"N" help:"Receipts a second at which latencies are measured."`
	Runs     int           `default:"7" placeholder:"N" help:"How often each figure is measured. The median counts."`
	Duration time.Duration `default:"1s" placeholder:"DURATION" help:"How long each time."`
	Under    string        `placeholder:"COMMAND" help:"Starts the server: a program and its arguments, separated by spaces, such as 'cgexec -g memory:small'."`
}

// Help is the long description of the command.
func (growCommand) Help() string {
	return `Starts receiptd with its defaults as a process of its own and pours receipts into it over HTTP, each
request answered when all of it is durable, folded and queryable. Measures latency at a fixed load
and questions about random messages of all times, then rate and processor time at full load, with
the first receipts in the state and again with all of them, each time when the server has come to
rest, and has the server replay its log beside the live state. Then it kills the process under load
and starts it again. Totals, and counts of many messages, are compared with what the traffic must
lead to; a wrong one fails the run. 100 million receipts take about a gigabyte on the disk.`
}

// Run measures and prints.
func (g growCommand) Run(ctx context.Context, std streams) error {
	traffic, err := g.Config()
	if err != nil {
		return err
	}
	self, err := child.ThisProgram(strings.Fields(g.Under)...)
	if err != nil {
		return err
	}
	bar := progress.New(std.err, progress.Options{Label: "grow", Unit: "events", Total: int64(g.Receipts), Quiet: g.JSON})
	defer bar.Close()
	o := grow.Options{
		Dir: g.Dir, First: g.First, Receipts: g.Receipts, Runs: max(1, g.Runs), Duration: g.Duration, Rate: g.Rate, Traffic: traffic,
		Self:   self,
		Poured: func(events int) { bar.Add(int64(events)) },
	}
	o.Phase = phases(std, g.JSON)
	r, err := grow.Run(ctx, o)
	bar.Close()
	if err != nil && r.Small.To == 0 {
		return err
	}
	// After an hour, what was measured before a failure is worth having.
	return errors.Join(err, show(std.out, g.JSON, &r, printGrow))
}

func printGrow(w io.Writer, r *grow.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "receipts in the state\t%s\t%s\tratio\t\n", progress.Count(float64(r.Small.From)), progress.Count(float64(r.Large.From)))
	count := func(v float64) string { return progress.Count(v) }
	plain := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	for _, row := range []struct {
		name         string
		small, large grow.Figure
		write        func(float64) string
	}{
		{"receipts/s", r.Small.Rate, r.Large.Rate, count},
		{"server's CPU, s a million", r.Small.CPU, r.Large.CPU, plain},
		{"submit to visible, p50 ms", r.Small.P50, r.Large.P50, plain},
		{"p99 ms", r.Small.P99, r.Large.P99, plain},
		{"one message, p50 ms", r.Small.CountP50, r.Large.CountP50, plain},
		{"p99 ms", r.Small.CountP99, r.Large.CountP99, plain},
		{"its readers, p50 ms", r.Small.ReadersP50, r.Large.ReadersP50, plain},
		{"p99 ms", r.Small.ReadersP99, r.Large.ReadersP99, plain},
	} {
		figure := func(f grow.Figure) string {
			return fmt.Sprintf("%s (%s to %s)", row.write(f.Median), row.write(f.Least), row.write(f.Most))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t\n", row.name, figure(row.small), figure(row.large), row.large.Median/row.small.Median)
	}
	fmt.Fprintf(t, "replay beside it, events/s\t%s\t%s\t%.2f\t\n", count(r.Small.Replay), count(r.Large.Replay), r.Ratios.Replay)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	m, s := &r.Memory, &r.Restart
	_, err := fmt.Fprintf(w, `growing: %s receipts/s, %s to %s from second to second
memory: %.0f MiB at most, %.0f then: Go's heap %.0f (cached state %.0f), idle %.0f, stacks %.0f; pages of files %.0f
restart after kill -9 with %s receipts: open in %.2f s, serving in %.2f s, %s events folded; %d sent again
disk: log %.2f and state %.2f bytes a receipt
%d receipts of %d messages: totals right, and %d counts
`, count(r.Pour.Median), count(r.Pour.Least), count(r.Pour.Most), m.Peak, m.Resident, m.Heap, m.Cache, m.HeapIdle, m.Stacks, m.File,
		progress.Count(float64(s.Receipts)), s.Open, s.Serving, progress.Count(float64(s.Folded)), s.Unanswered, r.LogBytes, r.StateBytes, r.Receipts, r.Messages, r.CountsChecked)
	return err
}
