package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// curveCommand measures latencies at several loads.
type curveCommand struct {
	sim.Flags   `embed:""`
	serverFlags `embed:""`

	JSON     bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Duration time.Duration `default:"5s" placeholder:"DURATION" help:"How long to find the end-to-end rate, and how long each load."`
	Points   int           `default:"10" placeholder:"N" help:"Loads: so many equal steps up to the end-to-end rate."`
	SVG      string        `name:"svg" placeholder:"FILE" help:"Draw the curve into this file."`
}

// Help is the long description of the command.
func (curveCommand) Help() string {
	return `Starts a server in this process on a fresh directory and finds the rate at which
receipts are folded and can be queried. Then it submits at parts of that rate, on a schedule that
does not wait for answers, and measures from the moment at which receipts were due until they could
be queried. All loads meet the same log and state, which grow on the way. Every count is checked at
the end.`
}

// Run measures, prints and draws.
func (c curveCommand) Run(ctx context.Context, std streams) error {
	o, err := c.options(c.Flags, c.Duration, std, c.JSON)
	if err != nil {
		return err
	}
	runtime.TuneMemory(o.Config.State, sim.LedgerBytes)
	curve, err := bench.RunCurve(ctx, o, c.Points)
	if err != nil {
		return err
	}
	return errors.Join(writePicture(c.SVG, &curve), show(std.out, c.JSON, &curve, printCurve))
}

// writePicture draws a result into a file, if one is given.
func writePicture(file string, result interface{ SVG() ([]byte, error) }) error {
	if file == "" {
		return nil
	}
	picture, err := result.SVG()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	return nil
}

func printCurve(w io.Writer, c *bench.Curve) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\treceipts/s\tp50 ms\tp99 ms\tp99.9 ms\t")
	for _, p := range c.Points {
		fmt.Fprintf(t, "%.2f\t%s\t%.1f\t%.1f\t%.1f\t\n", p.Load, progress.Count(p.Rate), p.P50, p.P99, p.P999)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err := fmt.Fprintf(w, "load 1 is %s/s, fsync %s, %d partitions, counts of %d messages right\n",
		progress.Count(c.EndToEnd), c.Fsync, c.Partitions, c.CountsChecked)
	return err
}
