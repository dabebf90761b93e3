package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/projections/store"
)

// checkpoints writes a checkpoint at each interval, or when one is wanted; [Projector.Close] writes
// the last one.
func (w *worker) checkpoints(ctx context.Context) error {
	tick := time.NewTicker(w.p.o.CheckpointEvery)
	defer tick.Stop()
	flushed := time.Now()
	flushedAt := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.checkpointWanted:
		}
		flush := time.Since(flushed) >= w.p.o.FlushEvery && w.outcomes.last() != flushedAt
		err := w.checkpoint(flush)
		if errors.Is(err, store.ErrCorrupt) || err != nil && w.corrupt() != nil {
			continue // the state is folded again; that there is a next one is seen to by run
		}
		if err != nil {
			return fmt.Errorf("checkpoint partition %d: %w", w.partition, err)
		}
		if flush {
			flushed, flushedAt = time.Now(), w.outcomes.last()
		}
	}
}

func (w *worker) checkpoint(flush bool) error {
	w.p.committing.Lock()
	defer w.p.committing.Unlock()
	return w.use(func(g *fold.Generation) error {
		if err := g.CheckpointUnhurried(); err != nil || !flush {
			return err
		}
		return g.Store.FlushSoon()
	})
}

// Durable makes what a partition has folded durable and returns its last entry: nothing before it
// is needed again. The error is [ErrRebuilding] while a rebuild reads the log.
func (p *Projector) Durable(partition int) (sequence uint64, err error) {
	p.retention.RLock()
	defer p.retention.RUnlock()
	if p.giveUp.Load() != nil {
		return 0, ErrRebuilding
	}
	err = p.workers[partition].use(func(g *fold.Generation) (err error) {
		sequence, err = g.Durable()
		return err
	})
	return sequence, err
}
