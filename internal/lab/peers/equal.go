package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/receiptd/receiptd/internal/lab/bench/drawing"
	"github.com/receiptd/receiptd/internal/progress"
)

// printAt prints the systems side by side at loads that several of them carry.
func printAt(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	any := false
	for _, r := range rows {
		for _, x := range r.At {
			if !any {
				fmt.Fprintln(t, "at receipts/s\tp50 ms\tp99\tp99.9\t  system\t")
			}
			any = true
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t  %s\t\n", progress.Count(x.Load), x.P50, x.P99, x.P999, r.System)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// draw draws the p99 of each system by load, as far as it carries that.
func draw(rows []Row, rates []float64) ([]byte, error) {
	l := drawing.Lines{
		Title:    "p99 of a request, by load",
		Subtitle: "from when it was due until all of it is durable and counted; a line ends where the system does",
		X:        "receipts a second",
		Y:        "milliseconds",
		Label:    func(ms float64) string { return fmt.Sprint(ms) },
	}
	for _, rate := range rates {
		l.Steps = append(l.Steps, progress.Count(rate))
	}
	for _, r := range rows {
		if len(r.At) == 0 {
			continue
		}
		s := drawing.Series{Name: r.System}
		for _, rate := range rates {
			value := math.NaN()
			if i := slices.IndexFunc(r.At, func(x At) bool { return x.Load == rate }); i >= 0 {
				value = r.At[i].P99
			}
			s.Values = append(s.Values, value)
		}
		l.Series = append(l.Series, s)
	}
	if len(l.Series) == 0 {
		return nil, errors.New("peers: no system carries any of the loads")
	}
	return l.SVG()
}
