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
	done, err := p.scanTurn(ctx)
	if err != nil {
		return page, err
	}
	defer done()
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

// ScanRates takes a scan through one partition, in its turn with other queries. The error is
// [ErrFoldingAgain] for a state that is not complete.
func (p *Projector) ScanRates(ctx context.Context, partition int, scan *projections.RateScan) error {
	done, err := p.scanTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := p.workers[partition].scan(ctx, scan); err != nil {
		return fmt.Errorf("read rates: %w", err)
	}
	return nil
}

// scanTurn waits for the turn of a query, which ends with done.
func (p *Projector) scanTurn(ctx context.Context) (done func(), err error) {
	select {
	case p.scanSlot <- struct{}{}:
		return func() { <-p.scanSlot }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("read rates: %w", ctx.Err())
	}
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
