package bench

import (
	"context"
	"fmt"
)

// Curve is how latency grows with load.
type Curve struct {
	Fsync      string  `json:"fsync"`
	Partitions int     `json:"partitions"`
	EndToEnd   float64 `json:"end_to_end_receipts_per_s"`
	Points     []Point `json:"points"`

	// CountsChecked messages had the read count that the traffic leads to; a wrong one fails
	// the run.
	CountsChecked int `json:"counts_checked"`
}

// Point is a load, and the latencies from the moment at which receipts were due until they could be
// queried.
type Point struct {
	// Load is the scheduled load as a fraction of the end-to-end rate. Rate is what was
	// achieved, over the time until the last receipt could be queried: less than scheduled
	// where the server cannot keep up.
	Load float64 `json:"load"`
	Rate float64 `json:"receipts_per_s"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
}

// RunCurve finds the end-to-end rate and then measures latencies at n evenly spaced loads, the last
// of which is that rate. Each is measured for o.Duration, one after the other, on the same log and
// state, which grow on the way. Latency, HTTP and the profile of the options are not used.
func RunCurve(ctx context.Context, o Options, n int) (c Curve, err error) {
	if n < 2 {
		return c, fmt.Errorf("bench: a curve of %d points", n)
	}
	err = measured(ctx, o, func(r *run, _ string) (err error) {
		c, err = r.curve(ctx, n)
		return err
	})
	return c, err
}

func (r *run) curve(ctx context.Context, n int) (Curve, error) {
	c := Curve{Fsync: r.o.Config.Log.Fsync, Partitions: r.server.Log.Partitions()}
	r.phase("end to end")
	if err := r.endToEnd(ctx); err != nil {
		return c, err
	}
	c.EndToEnd = r.result.EndToEnd
	if err := r.rest(ctx); err != nil {
		return c, err
	}
	for i := range n {
		load := float64(i+1) / float64(n)
		r.phase(fmt.Sprintf("latency at %.0f %% of it", 100*load))
		p, err := r.latencyAt(ctx, c.EndToEnd*load, r.o.Duration)
		if err != nil {
			return c, err
		}
		p.Load = load
		c.Points = append(c.Points, p)
		if err := r.server.CaughtUp(ctx); err != nil {
			return c, err
		}
		if err := r.rest(ctx); err != nil {
			return c, err
		}
	}
	r.phase("counts")
	err := r.checkCounts(ctx)
	c.CountsChecked = r.result.CountsChecked
	return c, err
}
