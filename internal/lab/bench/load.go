package bench

import (
	"context"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/embedded"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// measureGenerator measures what the load generator costs by itself, with a generator of its own
// that makes the same kind of traffic.
func (r *run) measureGenerator(context.Context) error {
	traffic, err := sim.New(r.o.Traffic)
	if err != nil {
		return err
	}
	gens, err := traffic.Generators(1)
	if err != nil {
		return err
	}
	const n = 2_000_000
	buf := make([]events.Event, 0, r.o.SubmitEvents)
	before := measure.CPUSeconds()
	for made := 0; made < n; made += len(buf) {
		buf = gens[0].Next(buf[:0], r.o.SubmitEvents)
	}
	t := gens[0].Totals()
	r.result.CPULoad = (measure.CPUSeconds() - before) / float64(t.Receipts) * 1e6
	return nil
}

// underWay is how many submits of each generator are in flight at full load.
const underWay = 8

// load returns the benchmark's traffic, directed at a system.
func (r *run) load(into load.System) *load.Load {
	return &load.Load{System: into, Connections: len(r.gens), Batch: r.o.SubmitEvents, UnderWay: underWay, Streams: r.gens}
}

// endToEnd submits as fast as the log takes it for the duration, then waits until everything is
// folded.
func (r *run) endToEnd(ctx context.Context) error {
	cpu, start := measure.CPUSeconds(), time.Now()
	durable, err := r.load(embedded.Durable{Server: r.server}).Phase(ctx, r.o.Duration, 0, nil)
	if err != nil {
		return err
	}
	if err := r.server.CaughtUp(ctx); err != nil {
		return err
	}
	visible := time.Since(start)
	r.entries()
	receipts := float64(durable.Receipts)
	r.result.Seconds = visible.Seconds()
	r.result.Ingest = durable.Rate()
	r.result.EndToEnd = receipts / visible.Seconds()
	r.result.CPU = (measure.CPUSeconds() - cpu) / receipts * 1e6
	return nil
}

// entries computes how large the log's entries were, and how long the disk took for one.
func (r *run) entries() {
	var entries, stored uint64
	var took time.Duration
	for _, s := range r.server.Log.Stats() {
		entries, stored, took = entries+s.Entries, stored+s.Events, took+s.AckTime
	}
	r.result.EntryEvents = float64(stored) / float64(entries)
	r.result.AckMS = took.Seconds() * 1000 / float64(entries)
}

// latency measures at the fraction of the end-to-end rate that the options ask for.
func (r *run) latency(ctx context.Context) error {
	if err := r.rest(ctx); err != nil {
		return err
	}
	p, err := r.latencyAt(ctx, r.result.EndToEnd*r.o.Latency, r.o.Duration/2)
	r.result.LatencyLoad, r.result.P50, r.result.P99, r.result.P999 = p.Rate, p.P50, p.P99, p.P999
	return err
}

// rest waits until the compactions that full load left behind are done: steady load would not cause
// them.
func (r *run) rest(ctx context.Context) error {
	return measure.Rest(ctx, func() (float64, error) { return measure.CPUSeconds(), nil })
}

// latencyAt submits batches of the same size as endToEnd does, at a rate, on a schedule that does
// not wait for answers, and measures from the scheduled moment until the receipts can be queried.
func (r *run) latencyAt(ctx context.Context, rate float64, duration time.Duration) (p Point, err error) {
	var latencies measure.Samples
	done, err := r.load(r.server).Phase(ctx, duration, rate, &latencies)
	if err != nil {
		return p, err
	}
	p.Rate = done.Rate()
	p.P50, p.P99, p.P999 = latencies.Quantile(0.5), latencies.Quantile(0.99), latencies.Quantile(0.999)
	return p, nil
}

// idle submits one event at a time.
func (r *run) idle(ctx context.Context) error {
	if err := r.rest(ctx); err != nil {
		return err
	}
	var all measure.Samples
	buf := make([]events.Event, 0, 1)
	deadline := time.Now().Add(r.o.Duration / 8)
	for time.Now().Before(deadline) {
		buf = r.gens[0].Next(buf[:0], 1)
		start := time.Now()
		if err := r.server.Load(ctx, buf); err != nil {
			return err
		}
		all.Add(time.Since(start))
	}
	r.result.IdleP50, r.result.IdleP99, r.result.IdleP999 = all.Quantile(0.5), all.Quantile(0.99), all.Quantile(0.999)
	return nil
}

// checkCounts compares the count of every message with what the traffic leads to.
func (r *run) checkCounts(ctx context.Context) (err error) {
	if r.result.CountsChecked, err = r.load(r.server).Check(ctx, 1); err != nil {
		return err
	}
	t := r.totals()
	r.result.Events, r.result.Receipts, r.result.Messages = t.Events, t.Receipts, t.Messages
	r.result.Distinct, r.result.Duplicates = t.Distinct, t.Duplicates
	return nil
}
