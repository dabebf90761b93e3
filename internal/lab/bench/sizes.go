package bench

import (
	"context"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// sizes closes everything, so that all of it is on disk, and measures it. The state is compacted
// first, so that what is measured is what remains of the receipts, not what is being rewritten.
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
