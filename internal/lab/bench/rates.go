package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/projections"
)

// rates measures the read-rate queries over the last day, and compares their sums with what the
// traffic leads to.
func (r *run) rates(ctx context.Context) error {
	want := r.load(r.server).Reads()
	for app, w := range want {
		for by, took := range map[projections.RateBy]*float64{
			projections.ByHour: &r.result.RatesByHour, projections.ByGroup: &r.result.RatesByGroup, projections.BySender: &r.result.RatesBySender,
		} {
			now := time.Now()
			page, err := r.server.Projector.ReadRates(ctx, projections.RateQuery{
				App: app, From: now.Add(-24 * time.Hour).UnixMilli(), To: now.UnixMilli(), By: by, Limit: math.MaxInt,
			})
			if err != nil {
				return err
			}
			*took = max(*took, time.Since(now).Seconds()*1000)
			var got load.Reads
			for i, rows := 0, page.Rows; i < len(rows); i++ {
				got = load.Reads{Messages: got.Messages + int(rows[i].Messages), Read: got.Read + int(rows[i].Read)}
			}
			if by != projections.ByGroup && got != w { // single chats are in no group
				return fmt.Errorf("read rates of %s add up to %d messages and %d reads, not %d and %d", app, got.Messages, got.Read, w.Messages, w.Read)
			}
		}
	}
	return nil
}
