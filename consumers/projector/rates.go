package projector

import (
	"context"
	"fmt"

	"github.com/receiptd/receiptd/projections"
)

// ReadRates answers a read-rate query from the rollups of all partitions. One query is answered at
// a time, which bounds what they take; others wait their turn. Neither the fold nor a switch to
// rebuilt state waits for one. The error is a [*projections.BeyondRollupError] for what they do not
// have.
func (p *Projector) ReadRates(ctx context.Context, q projections.RateQuery) (page projections.RatePage, err error) {
	if beyond := q.BeyondRollup(); beyond != nil {
		return page, beyond
	}
	select {
	case p.scanSlot <- struct{}{}:
		defer func() { <-p.scanSlot }()
	case <-ctx.Done():
		return page, fmt.Errorf("read rates: %w", ctx.Err())
	}
	scan := projections.NewRateScan(q)
	for scan.Next() {
		for _, w := range p.workers {
			if err := w.scan(ctx, scan); err != nil {
				return page, fmt.Errorf("read rates: %w", err)
			}
		}
	}
	return scan.Page()
}

// scan takes a scan through the partition. The state may be switched between two steps.
func (w *worker) scan(ctx context.Context, scan *projections.RateScan) error {
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.ask(func(part *projections.Partition) (err error) {
			done, err = scan.Step(part)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
