package router

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/receiptd/receiptd/projections"
)

// callRates is the name of a round of a query for read rates.
const callRates = "rates"

// ReadRates answers a read-rate query from all partitions; see [projector.Projector.ReadRates]. The
// node's turn is not held while others are asked: two that wait for each other's would wait for
// ever.
func (r *Router) ReadRates(ctx context.Context, q projections.RateQuery) (page projections.RatePage, err error) {
	all := true
	for k := range r.seen {
		all = all && r.Serves(k, 0)
	}
	if all {
		return r.Projector.ReadRates(ctx, q)
	}
	if beyond := q.BeyondRollup(); beyond != nil {
		return page, beyond
	}
	scan := projections.NewRateScan(q)
	for scan.Next() {
		for k := range r.seen {
			if r.Serves(k, 0) {
				err = r.ScanRates(ctx, k, scan)
			} else {
				err = r.scanElsewhere(ctx, k, scan)
			}
			if err != nil {
				return page, err
			}
		}
	}
	return scan.Page()
}

func (r *Router) scanElsewhere(ctx context.Context, partition int, scan *projections.RateScan) error {
	var share projections.RateShare
	if err := r.CallOther(ctx, callRates, partition, 0, scan.At(), &share); err != nil {
		return fmt.Errorf("read rates: %w", err)
	}
	return scan.Add(share)
}

// answerRates goes through a partition for another node.
func (r *Router) answerRates(ctx context.Context, partition int, text json.RawMessage) (any, error) {
	var round projections.RateRound
	if err := json.Unmarshal(text, &round); err != nil {
		return nil, fmt.Errorf("router: a round of read rates: %w", err)
	}
	scan, err := round.Scan()
	if err == nil {
		err = r.ScanRates(ctx, partition, scan)
	}
	if err != nil {
		return nil, err
	}
	return scan.Share(), nil
}
