package grow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Options of a run.
type Options struct {
	// Dir is where the data of the run lies; it is removed at the end.
	Dir string
	// First is how many receipts are in the state when it is measured first, Receipts how many
	// the second time.
	First, Receipts int
	// Runs is how often each figure is measured, for Duration each time. The median counts.
	Runs     int
	Duration time.Duration
	// Rate is the fixed load for latencies, in receipts a second.
	Rate float64
	// Traffic to make.
	Traffic sim.Config
	// Self is the command line that starts a server: that of [child.ThisProgram].
	Self child.Self
	// Phase, if not nil, is called with the name of each phase as it begins. Poured, if not
	// nil, is called from many goroutines with the number of events that were added to the
	// state.
	Phase  func(name string)
	Poured func(events int)
}

// Result is what receiptctl bench grow --json prints.
type Result struct {
	Small Figures `json:"small"`
	Large Figures `json:"large"`
	// Pour is the rate in receipts a second at which the state grew from one size to the other,
	// measured each second.
	Pour Figure `json:"pour_receipts_per_s"`
	// Ratios are the large state's figures divided by the small one's. For the rates more is
	// better, for the others less.
	Ratios Ratios `json:"ratios"`

	Memory  Memory  `json:"memory"`
	Restart Restart `json:"restart"`

	LogBytes   float64 `json:"log_bytes_per_receipt"`
	StateBytes float64 `json:"state_bytes_per_receipt"`

	// Receipts were loaded in all, and Messages sent. Every total was compared with what the
	// traffic leads to, and the counts of CountsChecked messages; a wrong one fails the run.
	Receipts      int `json:"receipts"`
	Messages      int `json:"messages"`
	CountsChecked int `json:"counts_checked"`
}

// Ratios of figures.
type Ratios struct {
	Rate       float64 `json:"rate"`
	CPU        float64 `json:"server_cpu"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	CountP99   float64 `json:"count_p99"`
	ReadersP99 float64 `json:"readers_p99"`
	Replay     float64 `json:"replay"`
}

const (
	connections = 16
	pourBatch   = 1000 // events of a request at full load
	steadyBatch = 256  // and at the fixed one
	// pourStep is how long the load runs before the size is looked at again.
	pourStep = time.Second
	// checkedMost is the number of messages, about, whose counts are compared.
	checkedMost = 100_000
)

// run is a benchmark in progress.
type run struct {
	o       Options
	dir     string
	server  *child.Receiptd
	streams []*sim.Generator
	result  Result

	unanswered unanswered
}

// Run measures. The context ends it early, with an error. With an error, the result is what was
// measured before.
func Run(ctx context.Context, o Options) (result Result, err error) {
	dir, err := os.MkdirTemp(o.Dir, "receiptd-grow-")
	if err != nil {
		return result, fmt.Errorf("grow: %w", err)
	}
	r := &run{o: o, dir: dir, server: child.NewReceiptd(o.Self, child.Protobuf)}
	defer func() { err = errors.Join(err, r.server.Stop(), os.RemoveAll(dir)) }()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"start", r.start},
		{fmt.Sprintf("grow to %d receipts", o.First), r.pour(o.First, new(Figure))},
		{"measure", r.measure(&r.result.Small)},
		{fmt.Sprintf("grow to %d receipts", o.Receipts), r.pour(o.Receipts, &r.result.Pour)},
		{"measure", r.measure(&r.result.Large)},
		{"memory", r.memory},
		{"kill -9 under load, and start", r.restart},
		{"counts", r.check},
		{"sizes", r.sizes},
	} {
		if o.Phase != nil {
			o.Phase(step.name)
		}
		if err := step.do(ctx); err != nil {
			return r.result, fmt.Errorf("grow: %s: %w", step.name, err)
		}
	}
	r.ratios()
	return r.result, nil
}

func (r *run) start(ctx context.Context) error {
	traffic, err := sim.New(r.o.Traffic)
	if err != nil {
		return err
	}
	if r.streams, err = traffic.Generators(min(load.Streams, r.o.Traffic.Groups)); err != nil {
		return err
	}
	if err := r.server.Start(ctx, r.dir); err != nil {
		return err
	}
	return r.server.Prepare(ctx, traffic)
}

// load is the traffic, in requests of batch events.
func (r *run) load(batch int) *load.Load {
	return &load.Load{System: r, Connections: connections, Batch: batch, Streams: r.streams}
}

// Load implements [load.System]. Events that are not answered are kept, to be sent again.
func (r *run) Load(ctx context.Context, evs []events.Event) error {
	err := r.server.Load(ctx, evs)
	if err != nil {
		r.unanswered.add(evs)
	} else if r.o.Poured != nil {
		r.o.Poured(len(evs))
	}
	return err
}

// Counts implements [load.System].
func (r *run) Counts(ctx context.Context, app string, messages []string) (map[string]int, error) {
	return r.server.Counts(ctx, app, messages)
}

// totals returns what the streams have made up to now.
func (r *run) totals() sim.Totals { return r.load(1).Totals() }

// pour makes the state grow to a number of receipts.
func (r *run) pour(receipts int, pour *Figure) func(context.Context) error {
	return func(ctx context.Context) error {
		for n := r.totals().Receipts; n < receipts; n = r.totals().Receipts {
			step := pourStep
			if left := receipts - n; left < 1_000_000 {
				step = pourStep / 10 // not far beyond the goal
			}
			rate, _, err := r.fullLoad(ctx, step)
			if err != nil {
				return err
			}
			if step == pourStep {
				pour.add(rate)
			}
		}
		return nil
	}
}

// sizes stops the server, so that all of the state is written, and measures what is on the disk.
func (r *run) sizes(context.Context) error {
	if err := r.server.Stop(); err != nil {
		return err
	}
	receipts := float64(r.result.Receipts)
	for part, to := range map[string]*float64{"log": &r.result.LogBytes, "state": &r.result.StateBytes} {
		n, err := measure.DiskBytes(filepath.Join(r.dir, "data", part))
		if err != nil {
			return err
		}
		*to = n / receipts
	}
	return nil
}

func (r *run) ratios() {
	small, large := &r.result.Small, &r.result.Large
	r.result.Ratios = Ratios{
		Rate: large.Rate.Median / small.Rate.Median, CPU: large.CPU.Median / small.CPU.Median,
		P50: large.P50.Median / small.P50.Median, P99: large.P99.Median / small.P99.Median,
		CountP99: large.CountP99.Median / small.CountP99.Median, ReadersP99: large.ReadersP99.Median / small.ReadersP99.Median,
		Replay: large.Replay / small.Replay,
	}
}
