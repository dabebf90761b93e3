package grow

import (
	"context"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// Figures are the measurements of one state. Latencies are in milliseconds.
type Figures struct {
	// From and To are the receipts in the state before and after: measuring adds some.
	From int `json:"receipts_from"`
	To   int `json:"receipts_to"`

	// Rate is how many receipts a second were durable, folded and queryable at full load, CPU
	// the server's processor time for a million of them, in seconds.
	Rate Figure `json:"receipts_per_s"`
	CPU  Figure `json:"server_cpu_s_per_million"`

	// P50 and P99 are at the fixed load, from the moment at which a request was due until its
	// receipts were queryable.
	P50 Figure `json:"p50_ms"`
	P99 Figure `json:"p99_ms"`
	// The queries are about random messages among all that exist, and run beside the fixed
	// load.
	CountP50   Figure `json:"count_p50_ms"`
	CountP99   Figure `json:"count_p99_ms"`
	ReadersP50 Figure `json:"readers_p50_ms"`
	ReadersP99 Figure `json:"readers_p99_ms"`

	// Replay is how many events a second were folded when the server replayed its log beside
	// the live state, and proved the two equal.
	Replay float64 `json:"replay_events_per_s"`
}

// Figure is what several runs measured: their median and their range.
type Figure struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`

	runs []float64
}

func (f *Figure) add(v float64) {
	f.runs = append(f.runs, v)
	slices.Sort(f.runs)
	n := len(f.runs)
	*f = Figure{Median: (f.runs[(n-1)/2] + f.runs[n/2]) / 2, Least: f.runs[0], Most: f.runs[n-1], runs: f.runs}
}

// askEvery is the time between two queries of the same kind.
const askEvery = 5 * time.Millisecond

// measure measures the current state, once the server has finished compacting what it was given
// before.
func (r *run) measure(f *Figures) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := measure.Rest(ctx, r.server.CPU); err != nil {
			return err
		}
		f.From = r.totals().Receipts
		if err := r.latencies(ctx, f); err != nil {
			return err
		}
		if err := r.rates(ctx, f); err != nil {
			return err
		}
		f.To = r.totals().Receipts
		if err := measure.Rest(ctx, r.server.CPU); err != nil {
			return err
		}
		var err error
		f.Replay, err = r.server.Verify(ctx)
		return err
	}
}

// rates measures throughput at full load.
func (r *run) rates(ctx context.Context, f *Figures) error {
	for range r.o.Runs {
		rate, cpu, err := r.fullLoad(ctx, r.o.Duration)
		if err != nil {
			return err
		}
		f.Rate.add(rate)
		f.CPU.add(cpu)
	}
	return nil
}

// fullLoad loads the server for a time. It returns how many receipts a second were counted, and the
// server's processor time for a million of them.
func (r *run) fullLoad(ctx context.Context, duration time.Duration) (rate, cpu float64, err error) {
	before, err := r.server.CPU()
	if err != nil {
		return 0, 0, err
	}
	done, err := r.load(pourBatch).Phase(ctx, duration, 0, nil)
	if err != nil {
		return 0, 0, err
	}
	after, err := r.server.CPU()
	return done.Rate(), (after - before) / float64(done.Receipts) * 1e6, err
}

// latencies measures at the fixed load, with queries beside it.
func (r *run) latencies(ctx context.Context, f *Figures) error {
	t := r.totals()
	rate := r.o.Rate * float64(t.Events) / float64(t.Receipts) // events are more than receipts
	steady, old := r.load(steadyBatch), r.sample(10_000)
	for range r.o.Runs {
		var submits, counts, readers measure.Samples
		if err := r.askDuring(ctx, old, &counts, &readers, func(ctx context.Context) error {
			_, err := steady.Phase(ctx, r.o.Duration, rate, &submits)
			return err
		}); err != nil {
			return err
		}
		for _, x := range []struct {
			of       *measure.Samples
			p50, p99 *Figure
		}{{&submits, &f.P50, &f.P99}, {&counts, &f.CountP50, &f.CountP99}, {&readers, &f.ReadersP50, &f.ReadersP99}} {
			x.p50.add(x.of.Quantile(0.5))
			x.p99.add(x.of.Quantile(0.99))
		}
	}
	return nil
}

// askDuring queries messages, in random order, for as long as do takes.
func (r *run) askDuring(ctx context.Context, about []message, counts, readers *measure.Samples, do func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	asking, enough := context.WithCancel(ctx)
	defer enough()
	for _, question := range []struct {
		of      string
		samples *measure.Samples
	}{{"", counts}, {"/readers", readers}} {
		group.Go(func() error {
			tick := time.NewTicker(askEvery)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-asking.Done():
					return ctx.Err()
				}
				m := about[rand.IntN(len(about))]
				start := time.Now()
				if err := r.server.Get(ctx, m.path()+question.of, nil); err != nil {
					return err
				}
				question.samples.Add(time.Since(start))
			}
		})
	}
	group.Go(func() error {
		defer enough()
		return do(ctx)
	})
	return group.Wait()
}

// message is a message that was sent, and the number of its readers that the traffic leads to.
type message struct {
	app, id string
	readers int
}

func (m message) path() string { return child.App(m.app) + "/messages/" + url.PathEscape(m.id) }

// sample returns at most n of the messages sent up to now, evenly spaced.
func (r *run) sample(n int) []message {
	nth := r.totals().Messages/n + 1
	var list []message
	i := 0
	for _, g := range r.streams {
		g.Expected(func(app, _, id string, readers int) {
			if i++; i%nth == 0 {
				list = append(list, message{app, id, readers})
			}
		})
	}
	return list
}
