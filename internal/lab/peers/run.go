package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Options of a comparison.
type Options struct {
	// Dir is where the data of the systems lies, one after the other; it is removed. Servers
	// that do not run as root must be able to enter it.
	Dir string
	// Duration is how long each system is loaded fully; half load lasts half as long.
	Duration time.Duration
	// Runs is how often each system is measured. Figures are medians.
	Runs int
	// Rates, in receipts a second, are loads at which all systems are measured that carry them,
	// each for half of Duration.
	Rates []float64
	// Traffic is the same for all systems, event by event, as far as each of them gets in the
	// time.
	Traffic sim.Config
	// Systems are measured.
	Systems []System
	// Self is the command line that starts a server: that of [child.ThisProgram].
	Self child.Self
	// Began, if not nil, is called as each run of a system begins.
	Began func(system string, run int)
}

// Row is what was measured of a system. Rates are receipts (delivered and read events) a second.
type Row struct {
	System     string `json:"system"`
	Title      string `json:"title"`
	Durability string `json:"durability"`

	Connections int `json:"connections"`
	Batch       int `json:"events_per_request"`

	// Rate is at full load, until the last receipt was stored and counted.
	Rate float64 `json:"receipts_per_s"`
	// P50, P99 and P999 are from the start of a request until all of it is stored and counted, at
	// full load.
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	// HalfRate is the load of the second phase, about half of Rate, and HalfP50 to HalfP999 are
	// the latencies at it from the moment at which a request was due, whether or not it was
	// late.
	HalfRate float64 `json:"half_load_receipts_per_s"`
	HalfP50  float64 `json:"half_load_p50_ms"`
	HalfP99  float64 `json:"half_load_p99_ms"`
	HalfP999 float64 `json:"half_load_p999_ms"`
	// At are the rates of [Options] that the system carries.
	At []At `json:"at,omitempty"`
	// CPU is the processor time of the servers for a million receipts, at full load.
	CPU float64 `json:"server_cpu_s_per_million"`
	// Bytes on the disk of a receipt.
	Bytes float64 `json:"disk_bytes_per_receipt"`

	// Receipts were loaded and CountsChecked messages had the right number of readers, in all
	// runs together.
	Receipts      int `json:"receipts"`
	CountsChecked int `json:"counts_checked"`
	Runs          int `json:"runs"`
}

// At is a system under a load that others have, too. Latencies are as in HalfP50.
type At struct {
	Load float64 `json:"load_receipts_per_s"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
}

// Run measures all systems, run by run: each run goes through all of them, so that a slow spell of
// the machine affects them alike.
func Run(ctx context.Context, o Options) ([]Row, error) {
	runs := make([][]Row, len(o.Systems))
	for n := range o.Runs {
		for i := range o.Systems {
			if o.Began != nil {
				o.Began(o.Systems[i].Name, n+1)
			}
			row, err := runSystem(ctx, &o, &o.Systems[i])
			if err != nil {
				return nil, fmt.Errorf("peers: %s: %w", o.Systems[i].Name, err)
			}
			runs[i] = append(runs[i], row)
		}
	}
	rows := make([]Row, len(runs))
	for i := range runs {
		rows[i] = medians(runs[i])
	}
	return rows, nil
}

// runSystem measures a system once.
func runSystem(ctx context.Context, o *Options, s *System) (row Row, err error) {
	dir, err := os.MkdirTemp(o.Dir, "receiptd-peers-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // for servers that run as another user
		return row, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return row, err
	}
	traffic, err := sim.New(o.Traffic)
	if err != nil {
		return row, err
	}
	x := &loaded{system: s, peer: s.open(o.Self)}
	x.Load = load.Load{System: x.peer, Connections: s.Connections, Batch: s.Batch, UnderWay: s.UnderWay}
	if x.Streams, err = traffic.Generators(min(load.Streams, o.Traffic.Groups)); err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, x.peer.Stop()) }()
	if err := x.peer.Start(ctx, dir, traffic); err != nil {
		return row, fmt.Errorf("start: %w", err)
	}
	return x.measure(ctx, o.Duration, o.Rates)
}

// loaded is a system under load.
type loaded struct {
	load.Load
	system *System
	peer   Peer
}

// measure runs the phases on a system that has been started.
func (x *loaded) measure(ctx context.Context, duration time.Duration, rates []float64) (row Row, err error) {
	row = Row{
		System: x.system.Name, Title: x.system.Title, Durability: x.system.Durability,
		Connections: x.system.Connections, Batch: x.system.Batch, Runs: 1,
	}
	before, err := x.peer.CPU()
	if err != nil {
		return row, err
	}
	var full, half measure.Samples
	done, err := x.Phase(ctx, duration, 0, &full)
	if err != nil {
		return row, fmt.Errorf("full load: %w", err)
	}
	after, err := x.peer.CPU()
	if err != nil {
		return row, err
	}
	row.Rate = done.Rate()
	row.P50, row.P99, row.P999 = full.Quantile(0.5), full.Quantile(0.99), full.Quantile(0.999)
	row.CPU = (after - before) / float64(done.Receipts) * 1e6
	events := float64(done.Events) / float64(done.Receipts) // of a receipt
	if row.At, err = x.at(ctx, duration/2, rates, row.Rate, events); err != nil {
		return row, err
	}
	done, err = x.Phase(ctx, duration/2, row.Rate*events/2, &half)
	if err != nil {
		return row, fmt.Errorf("half load: %w", err)
	}
	row.HalfRate = done.Rate()
	row.HalfP50, row.HalfP99, row.HalfP999 = half.Quantile(0.5), half.Quantile(0.99), half.Quantile(0.999)
	if row.CountsChecked, err = x.Check(ctx, 1); err != nil {
		return row, fmt.Errorf("counts: %w", err)
	}
	row.Receipts = x.Totals().Receipts
	bytes, err := x.peer.Bytes(ctx)
	if err != nil {
		return row, fmt.Errorf("size: %w", err)
	}
	row.Bytes = bytes / float64(row.Receipts)
	return row, nil
}

// at measures at the rates that the system carries, which is nine tenths of the full rate.
func (x *loaded) at(ctx context.Context, duration time.Duration, rates []float64, full, events float64) (list []At, err error) {
	for _, rate := range rates {
		if rate > 0.9*full {
			continue
		}
		var took measure.Samples
		if _, err := x.Phase(ctx, duration, rate*events, &took); err != nil {
			return nil, fmt.Errorf("at %.0f receipts/s: %w", rate, err)
		}
		list = append(list, At{rate, took.Quantile(0.5), took.Quantile(0.99), took.Quantile(0.999)})
	}
	return list, nil
}

// medians combines the rows of several runs, each figure by itself.
func medians(rows []Row) Row {
	m := rows[0]
	for _, figure := range []func(*Row) *float64{
		func(r *Row) *float64 { return &r.Rate }, func(r *Row) *float64 { return &r.P50 }, func(r *Row) *float64 { return &r.P99 },
		func(r *Row) *float64 { return &r.HalfRate }, func(r *Row) *float64 { return &r.HalfP50 }, func(r *Row) *float64 { return &r.HalfP99 },
		func(r *Row) *float64 { return &r.P999 }, func(r *Row) *float64 { return &r.HalfP999 },
		func(r *Row) *float64 { return &r.CPU }, func(r *Row) *float64 { return &r.Bytes },
	} {
		var values []float64
		for i := range rows {
			values = append(values, *figure(&rows[i]))
		}
		*figure(&m) = median(values)
	}
	m.At = mediansAt(rows)
	m.Receipts, m.CountsChecked, m.Runs = 0, 0, len(rows)
	for i := range rows {
		m.Receipts += rows[i].Receipts
		m.CountsChecked += rows[i].CountsChecked
	}
	return m
}

// mediansAt combines what was measured at each load, by the runs that carried it.
func mediansAt(rows []Row) (list []At) {
	at := map[float64][]At{}
	for i := range rows {
		for _, x := range rows[i].At {
			at[x.Load] = append(at[x.Load], x)
		}
	}
	for _, load := range slices.Sorted(maps.Keys(at)) {
		m := At{Load: load}
		for _, figure := range []func(*At) *float64{
			func(x *At) *float64 { return &x.P50 }, func(x *At) *float64 { return &x.P99 }, func(x *At) *float64 { return &x.P999 },
		} {
			var values []float64
			for i := range at[load] {
				values = append(values, *figure(&at[load][i]))
			}
			*figure(&m) = median(values)
		}
		list = append(list, m)
	}
	return list
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
