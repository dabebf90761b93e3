package grow

import (
	"context"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/bench/child"
	"github.com/receiptd/receiptd/internal/bench/measure"
)

// Figures are what is measured of a state. Latencies are in milliseconds.
type Figures struct {
	// From and To are the receipts in the state before and after: measuring adds some.
	From int `json:"receipts_from"`
	To   int `json:"receipts_to"`

	// Rate is how many receipts a second were durable, folded and queryable at full load, CPU the server's processor
	// time for a million of them, in seconds.
	Rate Figure `json:"receipts_per_s"`
	CPU  Figure `json:"server_cpu_s_per_million"`

	// P50 and P99 are at the fixed load, from the moment at which a request was due until its receipts were queryable.
	P50 Figure `json:"p50_ms"`
	P99 Figure `json:"p99_ms"`
	// The questions are about random messages of all that there are, and come beside the fixed load.
	CountP50   Figure `json:"count_p50_ms"`
	CountP99   Figure `json:"count_p99_ms"`
	ReadersP50 Figure `json:"readers_p50_ms"`
	ReadersP99 Figure `json:"readers_p99_ms"`
}

// Figure is what several runs measured.
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

// askEvery is the time between two questions of each kind.
const askEvery = 5 * time.Millisecond

// measure measures the state as it is.
func (r *run) measure(f *Figures) func(context.Context) error {
	return func(ctx context.Context) error {
		full, steady := r.load(pourBatch), r.load(steadyBatch)
		f.From = full.Totals().Receipts
		for range r.o.Runs {
			before, err := r.server.CPU()
			if err != nil {
				return err
			}
			done, err := full.Phase(ctx, r.o.Duration, 0, new(measure.Samples))
			if err != nil {
				return err
			}
			after, err := r.server.CPU()
			if err != nil {
				return err
			}
			f.Rate.add(done.Rate())
			f.CPU.add((after - before) / float64(done.Receipts) * 1e6)
		}
		// Events are more than receipts.
		t := full.Totals()
		rate := r.o.Rate * float64(t.Events) / float64(t.Receipts)
		old := r.sample(10_000)
		for range r.o.Runs {
			var submits, counts, readers measure.Samples
			if err := r.askDuring(ctx, old, &counts, &readers, func(ctx context.Context) error {
				_, err := steady.Phase(ctx, r.o.Duration, rate, &submits)
				return err
			}); err != nil {
				return err
			}
			f.P50.add(submits.Quantile(0.5))
			f.P99.add(submits.Quantile(0.99))
			f.CountP50.add(counts.Quantile(0.5))
			f.CountP99.add(counts.Quantile(0.99))
			f.ReadersP50.add(readers.Quantile(0.5))
			f.ReadersP99.add(readers.Quantile(0.99))
		}
		f.To = full.Totals().Receipts
		return nil
	}
}

// askDuring asks about messages, in random order, for as long as do takes.
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

// message is one that was sent, and how many have read it by what the traffic leads to.
type message struct {
	app, id string
	readers int
}

func (m message) path() string { return child.App(m.app) + "/messages/" + url.PathEscape(m.id) }

// sample is about n of the messages sent so far, and no more, at equal distances.
func (r *run) sample(n int) []message {
	nth := r.load(1).Totals().Messages/n + 1
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
