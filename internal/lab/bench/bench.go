package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/bench/embedded"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Options of a benchmark.
type Options struct {
	// Dir is where the log and the state of the run are kept until its end. It should be on the
	// disk that is to be measured.
	Dir string
	// Duration of the load, and of each of the shorter phases a quarter of it.
	Duration time.Duration
	// Config of the server under test. Its data directory is Dir's.
	Config config.Config
	// Traffic to make.
	Traffic sim.Config
	// Generators make the load, each in a goroutine of its own.
	Generators int
	// SubmitEvents is the number of events a generator submits at once.
	SubmitEvents int
	// Latency is the load of the latency phase as a fraction of the end-to-end rate.
	Latency float64
	// HTTP measures the HTTP edge too.
	HTTP bool
	// CPUProfile takes a profile of the phase named ProfilePhase; nil for none.
	CPUProfile   io.Writer
	ProfilePhase string
	// Phase, if not nil, is called with the name of each phase as it begins.
	Phase func(name string)
	// Logger receives warnings and errors.
	Logger *slog.Logger
}

// Result is what receiptctl bench --json prints. Rates are receipts (delivered and read events) a
// second.
type Result struct {
	Fsync      string  `json:"fsync"`
	Seconds    float64 `json:"seconds"`
	Partitions int     `json:"partitions"`

	Events     int `json:"events"`
	Receipts   int `json:"receipts"`
	Distinct   int `json:"distinct_receipts"`
	Duplicates int `json:"duplicate_receipts"`
	Messages   int `json:"messages"`

	RawJetStream float64 `json:"raw_jetstream_receipts_per_s"`
	Ingest       float64 `json:"ingest_receipts_per_s"`
	EndToEnd     float64 `json:"end_to_end_receipts_per_s"`
	Replay       float64 `json:"replay_receipts_per_s"`
	RawReplay    float64 `json:"raw_replay_receipts_per_s"`

	LatencyLoad float64 `json:"latency_load_receipts_per_s"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	P999        float64 `json:"p999_ms"`
	IdleP50     float64 `json:"idle_p50_ms"`
	IdleP99     float64 `json:"idle_p99_ms"`
	IdleP999    float64 `json:"idle_p999_ms"`

	// EntryEvents is the mean size of a log entry at full load, AckMS how long one took to be
	// durable.
	EntryEvents float64 `json:"entry_events"`
	AckMS       float64 `json:"entry_ack_ms"`

	LogBytes   float64 `json:"log_bytes_per_receipt"`
	StateBytes float64 `json:"state_bytes_per_receipt"`
	CPU        float64 `json:"cpu_s_per_million"`
	CPULoad    float64 `json:"cpu_s_per_million_load_generator"`
	PeakRSS    float64 `json:"peak_rss_mib"`

	RatioIngest   float64 `json:"ratio_ingest_raw"`
	RatioEndToEnd float64 `json:"ratio_end_to_end_raw"`
	RatioReplay   float64 `json:"ratio_replay_raw"`

	HTTPNDJSON   float64 `json:"http_ndjson_receipts_per_s,omitempty"`
	HTTPProtobuf float64 `json:"http_protobuf_receipts_per_s,omitempty"`

	// How long a read-rate query over the last day takes, with all rows.
	RatesByHour   float64 `json:"read_rate_by_hour_ms"`
	RatesByGroup  float64 `json:"read_rate_by_group_ms"`
	RatesBySender float64 `json:"read_rate_by_sender_ms"`

	// CountsChecked messages had the read count that the traffic leads to; a wrong one fails
	// the run.
	CountsChecked int  `json:"counts_checked"`
	VerifyEqual   bool `json:"verify_equal"`
}

// run is a benchmark in progress.
type run struct {
	o      Options
	server *embedded.Server // nil before it is started
	gens   []*sim.Generator
	result Result
}

// Run measures. The context ends it early, with an error.
func Run(ctx context.Context, o Options) (result Result, err error) {
	err = measured(ctx, o, func(r *run, dir string) error {
		defer func() { result = r.result }()
		return r.all(ctx, dir)
	})
	return result, err
}

// measured calls do with a server in a fresh directory, and removes both afterwards.
func measured(ctx context.Context, o Options, do func(r *run, dir string) error) (err error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	dir, err := os.MkdirTemp(o.Dir, "receiptd-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	o.Config.Data = filepath.Join(dir, "data")
	r := &run{o: o}
	defer func() { err = errors.Join(err, r.close(), os.RemoveAll(dir)) }()
	if err := r.open(ctx); err != nil {
		return fmt.Errorf("bench: open: %w", err)
	}
	if err := do(r, dir); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// all goes through the phases.
func (r *run) all(ctx context.Context, dir string) error {
	r.result.Fsync, r.result.Partitions = r.o.Config.Log.Fsync, r.server.Log.Partitions()
	for _, p := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"load generator alone", r.measureGenerator},
		{"raw JetStream", func(ctx context.Context) error { return r.rawJetStream(ctx, filepath.Join(dir, "raw")) }},
		{"end to end", r.endToEnd},
		{"latency at part load", r.latency},
		{"latency when idle", r.idle},
		{"HTTP", r.http},
		{"counts", r.checkCounts},
		{"read rates", r.rates},
		{"replay and verify", r.replay},
		{"raw replay", r.rawReplay},
		{"sizes", r.sizes},
	} {
		if p.name == "HTTP" {
			r.result.PeakRSS = measure.PeakRSS() // what follows holds the bodies of all requests
			if !r.o.HTTP {
				continue
			}
		}
		r.phase(p.name)
		if err := r.profiled(ctx, p.name, p.do); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	r.ratios()
	return nil
}

func (r *run) phase(name string) {
	if r.o.Phase != nil {
		r.o.Phase(name)
	}
}

// profiled runs a phase, under the profiler if it is the one to profile.
func (r *run) profiled(ctx context.Context, name string, phase func(context.Context) error) error {
	if r.o.CPUProfile != nil && name == r.o.ProfilePhase {
		if err := pprof.StartCPUProfile(r.o.CPUProfile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return phase(ctx)
}

func (r *run) ratios() {
	x := &r.result
	x.RatioIngest = x.Ingest / x.RawJetStream
	x.RatioEndToEnd = x.EndToEnd / x.RawJetStream
	x.RatioReplay = x.Replay / x.RawReplay
}

// open starts log and folds, configures the apps and creates the groups.
func (r *run) open(ctx context.Context) error {
	traffic, err := sim.New(r.o.Traffic)
	if err != nil {
		return err
	}
	if r.gens, err = traffic.Generators(r.o.Generators); err != nil {
		return err
	}
	if r.server, err = embedded.Start(ctx, r.o.Config, r.o.Logger); err != nil {
		return err
	}
	return r.server.Prepare(ctx, traffic)
}

func (r *run) close() error {
	if r.server == nil {
		return nil
	}
	return r.server.Stop()
}

// totals adds up what the generators have made.
func (r *run) totals() sim.Totals { return r.load(r.server).Totals() }
