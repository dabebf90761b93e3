package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/peers"
	"github.com/receiptd/receiptd/internal/progress"
)

// peersCommand compares receiptd with what one would build instead.
type peersCommand struct {
	trafficFlags `embed:""`

	JSON     bool          `name:"json" help:"Print the result as JSON, an object for each system, and nothing else."`
	Duration time.Duration `default:"10s" placeholder:"DURATION" help:"How long to load each system as fast as it goes; half as long again at half of that."`
	Runs     int           `default:"3" placeholder:"N" help:"How often to measure each system. Figures are medians."`
	Systems  []string      `placeholder:"NAME,…" help:"Only these: embedded, http, http-single, postgres, postgres-batch, redis, redis-batch, redis-everysec, redis-everysec-batch, watermill."`
}

// Help is the long description of the command.
func (peersCommand) Help() string {
	return `Starts each system with fresh data, as a process of its own on the loopback with generated passwords, loads it with the traffic of one
seed, compares every count with what the traffic must lead to, and ends it. A receipt counts when it is as durable as the system makes it and its
message's count has it. PostgreSQL and Redis have to be installed (on Debian: apt-get install postgresql redis-server); as root, PostgreSQL
is run as the user postgres, who must be able to enter --dir.`
}

// Run compares and prints.
func (p peersCommand) Run(ctx context.Context, std streams) error {
	traffic, err := p.traffic()
	if err != nil {
		return err
	}
	systems, err := peers.Select(p.Systems)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	o := peers.Options{
		Dir: p.Dir, Duration: p.Duration, Runs: max(1, p.Runs), Traffic: traffic, Systems: systems, Self: []string{self, "bench", "serve"},
	}
	if !p.JSON {
		o.Progress = func(system string, run int) { fmt.Fprintf(std.err, "bench: %s, run %d\n", system, run) }
	}
	rows, err := peers.Run(ctx, o)
	if err != nil {
		return err
	}
	if p.JSON {
		return json.NewEncoder(std.out).Encode(rows)
	}
	return printPeers(std.out, rows)
}

func printPeers(w io.Writer, rows []peers.Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "receipts/s\tp50/p99 ms\tat half load\tCPU s/million\tbytes\t  system\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.1f / %.1f\t%.1f / %.1f\t%.1f\t%.0f\t  %s: %s; %s\t\n",
			progress.Count(r.Rate), r.P50, r.P99, r.HalfP50, r.HalfP99, r.CPU, r.Bytes, r.System, r.Title, r.Durability)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	checked := 0
	for _, r := range rows {
		checked += r.CountsChecked
	}
	_, err := fmt.Fprintf(w, "counts of %d messages right\n", checked)
	return err
}

// serveCommand is a server that bench peers and bench grow start.
type serveCommand struct {
	Name string `arg:"" help:"receiptd or nats-server."`
	Data string `arg:"" help:"Directory of its data."`
}

// Run serves until a signal.
func (s serveCommand) Run(ctx context.Context, std streams) error {
	return child.Serve(ctx, s.Name, s.Data, std.out, std.err)
}
