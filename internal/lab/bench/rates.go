package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// rates measures the read-rate queries over the last day, and compares what they add up to with what the traffic
// leads to.
func (r *run) rates(ctx context.Context) error {
	type totals struct{ messages, read uint64 }
	want := map[string]totals{}
	for _, g := range r.gens {
		g.Expected(func(app, _, _ string, readers int) {
			t := want[app]
			want[app] = totals{t.messages + 1, t.read + uint64(readers)}
		})
	}
	for app, w := range want {
		for by, took := range map[projections.RateBy]*float64{
			projections.ByHour: &r.result.RatesByHour, projections.ByGroup: &r.result.RatesByGroup, projections.BySender: &r.result.RatesBySender,
		} {
			now := time.Now()
			rows, err := r.core.Projector.ReadRates(ctx, projections.RateQuery{
				App: app, From: now.Add(-24 * time.Hour).UnixMilli(), To: now.UnixMilli(), By: by, Limit: math.MaxInt,
			})
			if err != nil {
				return err
			}
			*took = max(*took, time.Since(now).Seconds()*1000)
			var got totals
			for i := range rows {
				got = totals{got.messages + rows[i].Messages, got.read + rows[i].Read}
			}
			if by != projections.ByGroup && got != w { // single chats are in no group
				return fmt.Errorf("read rates of %s add up to %d messages and %d reads, not %d and %d", app, got.messages, got.read, w.messages, w.read)
			}
		}
	}
	return nil
}
