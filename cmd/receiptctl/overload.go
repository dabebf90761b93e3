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
	"github.com/receiptd/receiptd/internal/lab/bench/overload"
	"github.com/receiptd/receiptd/internal/progress"
)

// overloadCommand measures what becomes of too many requests.
type overloadCommand struct {
	JSON        bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Connections []int         `default:"32,256,2000,10000" placeholder:"LIST" help:"Numbers of connections, each of which sends as fast as it is answered."`
	Batch       []int         `default:"1,1000,10000" placeholder:"LIST" help:"Events a request."`
	Tenants     []int         `default:"1,8" placeholder:"LIST" help:"Numbers of tenants that they are spread over."`
	Duration    time.Duration `default:"10s" placeholder:"DURATION" help:"How long each overload lasts, and each calm phase before it."`
	Impatient   bool          `help:"Whoever is refused comes back at once, whatever Retry-After says."`
	Under       string        `placeholder:"COMMAND" help:"Starts the server: a program and its arguments, separated by spaces, such as 'cgexec -g memory:small'."`
	SVG         string        `name:"svg" placeholder:"FILE" help:"Draw what was accepted a second into this file."`
	Dir         string        `default:"." placeholder:"DIR" help:"Where the data of the run lies; removed at the end. Use the disk that you want to measure."`
}

// Help is the long description of the command.
func (overloadCommand) Help() string {
	return `Starts receiptd with its defaults as a process of its own. For each number of connections, events a
request and tenants it measures first a quiet tenant alone (a receipt every 10 ms, answered when it
can be queried), then the better rate of 16 and of 64 connections, then all connections at once,
with the quiet tenant, health, readiness, metrics and the page beside them, and how soon the quiet
tenant is answered as before. Whoever is refused comes again when Retry-After says. Every message
that was accepted must be there with all its readers, and none of a request that was refused; the
state must be what the log gives again. 10,000 connections take as many open files, for each of the
two processes.`
}

// Validate is asked before anything is started.
func (c overloadCommand) Validate() error {
	return errors.Join(positive("connections", c.Connections...), positive("batch", c.Batch...), positive("tenants", c.Tenants...), positive("duration", c.Duration))
}

// Run measures and prints.
func (c overloadCommand) Run(ctx context.Context, std streams) error {
	self, err := child.ThisProgram(strings.Fields(c.Under)...)
	if err != nil {
		return err
	}
	o := overload.Options{Dir: c.Dir, Duration: c.Duration, Impatient: c.Impatient, Self: self}
	for _, tenants := range c.Tenants {
		for _, batch := range c.Batch {
			for _, connections := range c.Connections {
				o.Cells = append(o.Cells, overload.Cell{Connections: connections, Batch: batch, Tenants: tenants})
			}
		}
	}
	o.Phase = phases(std, c.JSON)
	r, err := overload.Run(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(writePicture(c.SVG, &r), show(std.out, c.JSON, &r, printOverload))
}

func printOverload(w io.Writer, r *overload.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "connections\tevents\ttenants\tbest/s\tgoodput/s\tshare\tp50 ms\tp99\tp99.9\tmax\trefused\tunknown\tMiB\tquiet p50\tp99\tbeside p50\tp99\tfailed\thealth ms\tready\tmetrics\tpage\trecovered s\t")
	for i := range r.Rows {
		x := &r.Rows[i]
		fmt.Fprintf(t, "%d\t%d\t%d\t%s\t%s\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t\n",
			x.Connections, x.Batch, x.Tenants, progress.Count(x.Best), progress.Count(x.Goodput), x.Share, x.P50, x.P99, x.P999, x.Max,
			x.Refused, x.Unknown, x.Memory, x.Quiet.P50, x.Quiet.P99, x.Quiet.BesideP50, x.Quiet.BesideP99, x.Quiet.Failed,
			x.Slowest["/healthz"], x.Slowest["/readyz"], x.Slowest["/metrics"], x.Slowest["/"], x.Recovery)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	for i := range r.Rows {
		x := &r.Rows[i]
		if x.Unknown > 0 || len(x.Failures) > 0 {
			fmt.Fprintf(w, "%d connections, %d events, %d tenants: answers other than accepted %v, failed questions %v\n", x.Connections, x.Batch, x.Tenants, x.Codes, x.Failures)
		}
	}
	_, err := fmt.Fprintf(w, "%d messages right, %d events folded, replayed state equal\n", r.Checked, r.Events)
	return err
}
