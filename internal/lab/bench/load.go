package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// measureGenerator finds out what the load generator costs by itself, with generators of its own that
// make the same kind of traffic.
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

// endToEnd submits as fast as the log takes it for the duration, then waits until everything is folded.
func (r *run) endToEnd(ctx context.Context) error {
	before, cpu, start := r.totals(), measure.CPUSeconds(), time.Now()
	deadline := start.Add(r.o.Duration)
	group, ctx := errgroup.WithContext(ctx)
	for _, g := range r.gens {
		group.Go(func() error { return r.pour(ctx, g, deadline) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	durable := time.Since(start)
	if err := r.caughtUp(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	visible := time.Since(start)
	r.entries()
	made := r.totals()
	receipts := float64(made.Receipts - before.Receipts)
	r.result.Seconds = visible.Seconds()
	r.result.Ingest = receipts / durable.Seconds()
	r.result.EndToEnd = receipts / visible.Seconds()
	r.result.CPU = (measure.CPUSeconds() - cpu) / receipts * 1e6
	return nil
}

// entries says how large the entries of the log were, and how long the disk took for one.
func (r *run) entries() {
	var entries, stored uint64
	var took time.Duration
	for _, s := range r.core.Log.Stats() {
		entries, stored, took = entries+s.Entries, stored+s.Events, took+s.AckTime
	}
	r.result.EntryEvents = float64(stored) / float64(entries)
	r.result.AckMS = took.Seconds() * 1000 / float64(entries)
}

// pour keeps a bounded number of submits under way until the deadline, and waits for all of them.
func (r *run) pour(ctx context.Context, g *sim.Generator, deadline time.Time) error {
	const underWay = 8
	tickets := make([]*eventlog.Ticket, 0, underWay)
	buf := make([]events.Event, 0, r.o.SubmitEvents)
	for time.Now().Before(deadline) {
		buf = g.Next(buf[:0], r.o.SubmitEvents)
		t, err := r.core.Log.Submit(ctx, buf)
		if err != nil {
			return err
		}
		if len(tickets) == underWay {
			if err := tickets[0].Wait(ctx); err != nil {
				return err
			}
			tickets = append(tickets[:0], tickets[1:]...)
		}
		tickets = append(tickets, t)
	}
	for _, t := range tickets {
		if err := t.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// caughtUp waits until the folds have everything that is in the log.
func (r *run) caughtUp(ctx context.Context) error {
	for k := range r.core.Log.Partitions() {
		_, last, err := r.core.Log.Bounds(ctx, k)
		if err != nil {
			return err
		}
		if err := r.core.Projector.WaitFor(ctx, k, last); err != nil {
			return err
		}
	}
	return nil
}

// latency measures at the part of the end-to-end rate that the options ask for.
func (r *run) latency(ctx context.Context) error {
	if err := r.rest(ctx); err != nil {
		return err
	}
	p, err := r.latencyAt(ctx, r.result.EndToEnd*r.o.Latency, r.o.Duration/2)
	r.result.LatencyLoad, r.result.P50, r.result.P99 = p.Rate, p.P50, p.P99
	return err
}

// rest waits until what full load left to compact is done: load that comes and stays does not bring that along.
func (r *run) rest(ctx context.Context) error {
	return measure.Rest(ctx, func() (float64, error) { return measure.CPUSeconds(), nil })
}

// latencyAt submits as much at once as endToEnd does, at a rate, on a schedule that does not wait for answers, and measures
// from the scheduled moment until the receipts can be queried.
func (r *run) latencyAt(ctx context.Context, rate float64, duration time.Duration) (p Point, err error) {
	perSubmit := r.o.SubmitEvents
	every := time.Duration(float64(len(r.gens)*perSubmit) / rate * float64(time.Second))
	var all measure.Samples
	before, start := r.totals(), time.Now()
	deadline := start.Add(duration)
	group, ctx := errgroup.WithContext(ctx)
	for i, g := range r.gens {
		// The generators take turns.
		first := start.Add(every * time.Duration(i) / time.Duration(len(r.gens)))
		group.Go(func() error { return r.pace(ctx, g, perSubmit, first, every, deadline, &all) })
	}
	if err := group.Wait(); err != nil {
		return p, err
	}
	made := r.totals()
	p.Rate = float64(made.Receipts-before.Receipts) / time.Since(start).Seconds()
	p.P50, p.P99 = all.Quantile(0.5), all.Quantile(0.99)
	return p, nil
}

func (r *run) pace(ctx context.Context, g *sim.Generator, n int, at time.Time, every time.Duration, deadline time.Time, all *measure.Samples) error {
	group, ctx := errgroup.WithContext(ctx)
	buf := make([]events.Event, 0, n)
	for ; at.Before(deadline) && ctx.Err() == nil; at = at.Add(every) {
		if wait := time.Until(at); wait > 0 {
			time.Sleep(wait)
		}
		buf = g.Next(buf[:0], n)
		t, err := r.core.Log.Submit(ctx, buf)
		if err != nil {
			return err
		}
		scheduled := at
		group.Go(func() error {
			if err := t.Wait(ctx); err != nil {
				return err
			}
			if err := r.visible(ctx, t); err != nil {
				return err
			}
			all.Add(time.Since(scheduled))
			return nil
		})
	}
	return group.Wait()
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
		if err := r.append(ctx, buf); err != nil {
			return err
		}
		all.Add(time.Since(start))
	}
	r.result.IdleP50, r.result.IdleP99 = all.Quantile(0.5), all.Quantile(0.99)
	return nil
}

// checkCounts compares the count of every message with what the traffic leads to.
func (r *run) checkCounts(context.Context) error {
	wrong := 0
	var example string
	for _, g := range r.gens {
		ids := make([]string, 0, 1000)
		want := map[string]int{}
		var app string
		check := func() error {
			counts, err := r.core.Projector.Counts(app, ids)
			if err != nil {
				return err
			}
			for id, readers := range want {
				r.result.CountsChecked++
				if c, ok := counts[id]; !ok || c.Read != readers {
					wrong++
					example = fmt.Sprintf("message %s of %s has %d readers, not %d", id, app, c.Read, readers)
				}
			}
			ids = ids[:0]
			clear(want)
			return nil
		}
		var failed error
		g.Expected(func(a, _, message string, readers int) {
			if failed == nil && (a != app || len(ids) == cap(ids)) {
				failed = check()
			}
			app = a
			ids = append(ids, message)
			want[message] = readers
		})
		if failed == nil {
			failed = check()
		}
		if failed != nil {
			return failed
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d counts are wrong, for example: %s", wrong, r.result.CountsChecked, example)
	}
	t := r.totals()
	r.result.Events, r.result.Receipts, r.result.Messages = t.Events, t.Receipts, t.Messages
	r.result.Distinct, r.result.Duplicates = t.Distinct, t.Duplicates
	return nil
}
