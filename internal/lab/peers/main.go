// Command peers runs the same receipts through receiptd and through what one would build instead
// from a database, a cache or a message broker, each as a server of its own on the loopback, with
// temporary data. Every count is compared with what the traffic must lead to; a wrong one fails the
// run.
//
// The peers store receipts and count them. They check nothing: not who is a member, not whether a
// receipt is still valid, not whether its message exists; and they tell no author. That is what
// they save compared with receiptd.
//
// It is a module of its own, so that the clients of those systems are none of receiptd's
// dependencies. From the root of the repository:
//
//	go run -C internal/lab/peers . --duration 1500ms
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/progress"
)

const description = `Runs the same receipts through receiptd and through SQLite, PostgreSQL, Redis, and Watermill on JetStream.

Starts each system with fresh data, as a process of its own on the loopback with generated passwords, loads it with the
traffic of one seed, compares every count with what the traffic must lead to, and ends it. A receipt counts when it is
as durable as the system makes it and its message's count has it. PostgreSQL and Redis have to be installed (on Debian:
apt-get install postgresql redis-server); as root, PostgreSQL is run as the user postgres, who must be able to enter
--dir.`

// cli is the command line.
type cli struct {
	sim.Flags `embed:""`

	JSON     bool          `name:"json" help:"Print the result as JSON, an object for each system, and nothing else."`
	Duration time.Duration `default:"10s" placeholder:"DURATION" help:"How long to load each system as fast as it goes; half as long again at half of that."`
	Runs     int           `default:"3" placeholder:"N" help:"How often to measure each system. Figures are medians."`
	Rates    []float64     `placeholder:"N,…" help:"Loads in receipts/s at which all systems that carry them are measured as well, each for half of --duration; for example 10000,50000,200000."`
	SVG      string        `name:"svg" placeholder:"FILE" help:"Draw the latencies at --rates into this file."`
	Systems  []string      `placeholder:"NAME,…" help:"Only these: embedded, sqlite, http, stream, nats, http-single, postgres, postgres-batch, redis, redis-batch, redis-everysec, redis-everysec-batch, watermill."`
}

func main() {
	child.ServeIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var c cli
	k := kong.Parse(&c, kong.Name("peers"), kong.Description(description), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110}))
	err := c.run(ctx, os.Stdout, os.Stderr)
	stop()
	k.FatalIfErrorf(err)
}

// run compares and prints: the result to out, what begins to messages.
func (c *cli) run(ctx context.Context, out, messages io.Writer) error {
	traffic, err := c.Config()
	if err != nil {
		return err
	}
	systems, err := Select(c.Systems)
	if err != nil {
		return err
	}
	self, err := child.ThisProgram()
	if err != nil {
		return err
	}
	o := Options{Dir: c.Dir, Duration: c.Duration, Runs: max(1, c.Runs), Rates: slices.Sorted(slices.Values(c.Rates)), Traffic: traffic, Systems: systems, Self: self}
	if !c.JSON {
		o.Began = func(system string, run int) { fmt.Fprintf(messages, "peers: %s, run %d\n", system, run) }
	}
	rows, err := Run(ctx, o)
	if err != nil {
		return err
	}
	if c.SVG != "" {
		picture, err := draw(rows, o.Rates)
		if err == nil {
			err = os.WriteFile(c.SVG, picture, 0o644)
		}
		if err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(rows)
	}
	return printRows(out, rows)
}

func printRows(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "receipts/s\tp50/p99/p99.9 ms\tat half load\tCPU s/million\tbytes\t  system\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.1f / %.1f / %.1f\t%.1f / %.1f / %.1f\t%.1f\t%.0f\t  %s: %s; %s\t\n",
			progress.Count(r.Rate), r.P50, r.P99, r.P999, r.HalfP50, r.HalfP99, r.HalfP999, r.CPU, r.Bytes, r.System, r.Title, r.Durability)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if err := printAt(w, rows); err != nil {
		return err
	}
	checked := 0
	for _, r := range rows {
		checked += r.CountsChecked
	}
	_, err := fmt.Fprintf(w, "counts of %d messages right\n", checked)
	return err
}
