package bench

import (
	"context"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// sizes closes everything, so that what is on the disk is all there is, and measures it. The state
// is compacted first: it is what stays of the receipts, not what is being rewritten.
func (r *run) sizes(ctx context.Context) error {
	if err := r.server.Projector.Compact(ctx); err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	t := r.totals()
	log, err := measure.DiskBytes(filepath.Join(r.o.Config.Data, "log"))
	if err != nil {
		return err
	}
	state, err := measure.DiskBytes(filepath.Join(r.o.Config.Data, "state"))
	if err != nil {
		return err
	}
	r.result.LogBytes = log / float64(t.Receipts)
	r.result.StateBytes = state / float64(t.Distinct)
	return nil
}
