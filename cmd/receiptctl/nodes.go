package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/nodes"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/progress"
)

// nodesCommand measures several nodes beside one process.
type nodesCommand struct {
	sim.Flags `embed:""`

	JSON        bool          `name:"json" help:"Print the result as JSON, an object for each layout, and nothing else."`
	Runs        int           `default:"3" placeholder:"N" help:"How often each layout is measured, alternately. Figures are medians."`
	Duration    time.Duration `default:"4s" placeholder:"DURATION" help:"How long each phase takes."`
	Profiles    string        `name:"cpu-profiles" placeholder:"DIR" help:"Write a processor profile of each node under full load into this directory, for go tool pprof."`
	Connections int           `default:"16" placeholder:"N" help:"How many requests are under way under full load."`
	Receipts    int           `default:"10000000" placeholder:"N" help:"Receipts in the log, at least, when a node has lost its state."`
}

// Help is the long description of the command.
func (nodesCommand) Help() string {
	return `Starts receiptd as one process, as three nodes that form a cluster by themselves
with all of the state on each, and as three that have a third each, with three copies of the log.
For each it measures one receipt at a time, full load over HTTP in requests of 1000 events, and
questions for a message to one node after the other; then a node of those with all of the state
loses it. All requests are answered when what they sent can be queried. Counts at each node are
compared with what the traffic must lead to. All processes share this machine: the processor time
is what compares with other machines, the rate is not.`
}

// Run measures and prints.
func (n nodesCommand) Run(ctx context.Context, std streams) error {
	traffic, err := n.Config()
	if err != nil {
		return err
	}
	self, err := child.ThisProgram()
	if err != nil {
		return err
	}
	rows, err := nodes.Run(ctx, nodes.Options{
		Dir: n.Dir, Runs: n.Runs, Duration: n.Duration, Receipts: n.Receipts, Profiles: n.Profiles, Connections: n.Connections, Traffic: traffic, Self: self, Phase: phases(std, n.JSON),
	})
	if err != nil {
		return err
	}
	return show(std.out, n.JSON, &rows, printNodes)
}

func printNodes(w io.Writer, rows *[]nodes.Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "receipts/s\tCPU s/million\tevents an entry\tone, p50 ms\tp99\tquestion, p50 ms\tp99\tback after s\twith\t  layout\t")
	for _, r := range *rows {
		back, with := "", ""
		if r.Back > 0 {
			back, with = fmt.Sprintf("%.1f", r.Back), progress.Count(float64(r.BackReceipts))
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t%s\t  %s\t\n",
			progress.Count(r.Rate), r.CPU, r.Entry, r.IdleP50, r.IdleP99, r.AskP50, r.AskP99, back, with, r.Layout)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
