package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/bench"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// benchCommands measure.
type benchCommands struct {
	All   benchCommand `cmd:"" default:"withargs" help:"The whole path of receiptd, in this process. The default."`
	Curve curveCommand `cmd:"" help:"How latency grows with load, as a table and a picture."`

	Overload   overloadCommand   `cmd:"" help:"What becomes of too many requests, and of others beside them."`
	Grow       growCommand       `cmd:"" help:"What 100 million receipts in the state cost."`
	Nodes      nodesCommand      `cmd:"" help:"Three nodes beside one process."`
	Doors      doorsCommand      `cmd:"" help:"Single receipts through each door of a running server."`
	Clients    clientsCommand    `cmd:"" help:"Many clients with the SDK's protocol on a running server."`
	Floods     floodsCommand     `cmd:"" help:"What a quiet app notices while another one floods a running server."`
	ClickHouse clickHouseCommand `cmd:"" name:"clickhouse" help:"The sink into ClickHouse, and the questions there."`
	Peers      peersCommand      `cmd:"" hidden:"" help:"Now a program of its own: says how to run it."`
}

// peersCommand is where the comparison with other systems used to be.
type peersCommand struct {
	Arguments []string `arg:"" optional:"" passthrough:""`
}

// Run says where the comparison is now.
func (peersCommand) Run() error {
	return errors.New("the comparison with PostgreSQL, Redis and Watermill is a program of its own: " +
		"run go run -C internal/lab/peers . in a clone of the repository; it takes the same flags")
}

// serverFlags are settings of the server that is measured in this process.
type serverFlags struct {
	Fsync      string `default:"always" enum:"always,interval" placeholder:"WHEN" help:"As for receiptd: always or interval."`
	Partitions int    `default:"0" placeholder:"N" help:"Partitions of the log. 0: the number of cores."`
}

const benchGenerators = 16

// options returns the options of a benchmark in this process. Unless quiet, phases are announced on
// standard error.
func (f serverFlags) options(t sim.Flags, duration time.Duration, std streams, quiet bool) (bench.Options, error) {
	traffic, err := t.Config()
	o := bench.Options{
		Dir: t.Dir, Duration: duration, Config: config.Default(), Traffic: traffic,
		Generators: min(benchGenerators, t.Groups), SubmitEvents: 1024,
		Logger: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	o.Config.HTTP.Listen = "127.0.0.1:0"
	o.Config.Log.Fsync, o.Config.Log.Partitions = f.Fsync, f.Partitions
	o.Phase = phases(std, quiet)
	return o, err
}

// positive reports a flag that has no value, or one that is not above zero.
func positive[N int | time.Duration](flag string, values ...N) error {
	if len(values) == 0 || slices.Min(values) <= 0 {
		return fmt.Errorf("--%s takes what is above zero", flag)
	}
	return nil
}

// phases says which phase a benchmark is in, unless it is to be quiet.
func phases(std streams, quiet bool) func(name string) {
	if quiet {
		return nil
	}
	return func(name string) { fmt.Fprintf(std.err, "bench: %s\n", name) }
}

// show writes a result as JSON, or for people.
func show[R any](w io.Writer, asJSON bool, r *R, print func(io.Writer, *R) error) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	return print(w, r)
}

// benchCommand measures the whole path on this machine.
type benchCommand struct {
	sim.Flags   `embed:""`
	serverFlags `embed:""`

	JSON       bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Duration   time.Duration `default:"20s" placeholder:"DURATION" help:"How long to pour at full load; the other phases take about as long again."`
	Load       float64       `default:"0.5" placeholder:"PART" help:"Load of the latency phase, as a part of the end-to-end rate."`
	HTTP       bool          `name:"http" help:"Measure the HTTP edge too: NDJSON and protobuf bodies of 1000 events on 16 connections."`
	CPUProfile string        `name:"cpu-profile" placeholder:"FILE" help:"Write a processor profile of the phase --profile-phase, for go tool pprof."`
	Phase      string        `name:"profile-phase" default:"end to end" placeholder:"NAME" help:"Phase to profile, by the name that the run prints."`
}

// Help is the long description of the command.
func (benchCommand) Help() string {
	return `Starts a server in this process on a fresh directory, and measures in one run: a
bare JetStream with the same fsync setting, the durable rate, the rate until receipts are folded and
can be queried, latency at half of that, replay, reading only, bytes and processor time. The traffic
is that of chat groups of mixed sizes: bursts of reads after each message, duplicates, early
receipts, members who come and go. Every count is compared with what the traffic must lead to; a
wrong one fails the run.`
}

// Run measures and prints.
func (b benchCommand) Run(ctx context.Context, std streams) (err error) {
	o, err := b.options(b.Flags, b.Duration, std, b.JSON)
	if err != nil {
		return err
	}
	o.Latency, o.HTTP = b.Load, b.HTTP
	if b.CPUProfile != "" {
		f, err := os.Create(b.CPUProfile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		o.CPUProfile, o.ProfilePhase = f, b.Phase
	}
	runtime.TuneMemory(o.Config.State, sim.LedgerBytes)
	r, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	return show(std.out, b.JSON, &r, printBench)
}

func printBench(w io.Writer, r *bench.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	rate := func(name string, v, ratio float64, of string) {
		if ratio > 0 {
			of = fmt.Sprintf("%.2f of %s", ratio, of)
		}
		fmt.Fprintf(t, "%s\t%s/s\t  %s\t\n", name, progress.Count(v), of)
	}
	rate("raw JetStream", r.RawJetStream, 0, "same fsync setting")
	rate("durable", r.Ingest, r.RatioIngest, "raw")
	rate("end to end", r.EndToEnd, r.RatioEndToEnd, "raw")
	rate("replay", r.Replay, r.RatioReplay, "raw replay")
	rate("raw replay", r.RawReplay, 0, "read and decoded only")
	if r.HTTPNDJSON > 0 {
		rate("HTTP NDJSON", r.HTTPNDJSON, 0, "durable")
		rate("HTTP protobuf", r.HTTPProtobuf, 0, "durable")
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\t\t\n", name, fmt.Sprintf(format, args...))
	}
	row("submit to visible", "p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms at %s/s", r.P50, r.P99, r.P999, progress.Count(r.LatencyLoad))
	row("when idle", "p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms", r.IdleP50, r.IdleP99, r.IdleP999)
	row("read rates", "by hour %.1f ms, by group %.1f ms, by sender %.1f ms", r.RatesByHour, r.RatesByGroup, r.RatesBySender)
	row("log entry", "%.0f events, durable in %.1f ms", r.EntryEvents, r.AckMS)
	row("log", "%.1f bytes a receipt", r.LogBytes)
	row("state", "%.1f bytes a receipt", r.StateBytes)
	row("processor", "%.2f s a million, %.2f of it the load", r.CPU, r.CPULoad)
	row("memory", "%.0f MiB at most", r.PeakRSS)
	row("counts", "%d messages right, replayed state equal", r.CountsChecked)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err := fmt.Fprintf(w, "%d receipts (%d distinct) of %d messages, %s, fsync %s, %d partitions\n",
		r.Receipts, r.Distinct, r.Messages, time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond), r.Fsync, r.Partitions)
	return err
}
