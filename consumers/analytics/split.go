package analytics

import (
	"context"
	"errors"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// fork has a worker of a partition that forked from another one begin with the state of that, if
// that stands before the fork.
func (c *Consumer) fork(w *worker) error {
	parent, upto := c.log.Fork(w.partition)
	if parent < 0 {
		return nil
	}
	w.fork = upto
	if at := c.workers[parent].gen.Saved(); at == 0 || at >= upto || fold.Exists(nil, w.root) {
		return nil
	}
	return fold.Fork(w.root, c.workers[parent].gen, c.foldOptions(w.partition))
}

// position is the last entry of the partition that the sink has, or is given by the worker of the
// partition that this one forked from.
func (w *worker) position(ctx context.Context) (clickhouse.Position, error) {
	p, err := w.c.sink.Position(ctx, w.partition)
	if err != nil || p.Sequence >= w.fork {
		return p, err
	}
	p = clickhouse.Position{Sequence: w.fork}
	e, err := w.c.log.EntryAt(ctx, w.partition, w.fork)
	switch {
	case err == nil:
		p.Fingerprint = eventlog.Fingerprint(e)
	case errors.Is(err, eventlog.ErrNoEntry):
		err = nil
	}
	return p, err
}

// handOverAll hands over all there is, and waits until it is written.
func (f *foldStage) handOverAll(ctx context.Context) error {
	f.refreshed, f.checkpointed = time.Time{}, time.Time{}
	return f.handOverAndWait(ctx)
}

func (f *foldStage) handOverAndWait(ctx context.Context) error {
	written := make(chan struct{})
	f.wanted = written
	err := f.handOver(ctx)
	f.wanted = nil
	if err != nil {
		return err
	}
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// split splits the state after an entry that says so. The sink has that entry before the state is
// stored, and the totals that change before the state says that they have.
func (f *foldStage) split(ctx context.Context) error {
	if err := f.handOverAndWait(ctx); err != nil {
		return err
	}
	w := f.w
	at, _ := w.gen.Part.Position()
	return w.gen.Split(func(list []projections.Cohort) error {
		rows := make([]clickhouse.CohortRow, 0, len(list))
		for _, c := range list {
			rows = append(rows, clickhouse.CohortRow{Cohort: c, Version: clickhouse.Version(at)})
		}
		return inChunks(ctx, w.c, "insert totals", rows, func(ctx context.Context, rows []clickhouse.CohortRow) error {
			return w.c.sink.InsertCohorts(ctx, w.partition, rows)
		})
	})
}
