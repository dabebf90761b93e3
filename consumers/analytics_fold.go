package consumers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// folding is the first goroutine of an archivist: it reads, folds, and hands over what is to be written.
type folding struct {
	w *archivist
	// stored is what the sink had at the start: up to it there is nothing to add to the table of events.
	stored clickhouse.Position
	// again is the block that was being inserted when the process ended, if the sink does not have it; zero for none.
	again intent

	block *clickhouse.Block
	since time.Time // when the block's first entry was folded
	facts []projections.Fact

	messages                []projections.AppMessage
	cells                   []projections.Cell
	refreshed, checkpointed time.Time
}

// resume finds out where to go on: behind what the sink has, with a state that the log agrees with.
func (f *folding) resume(ctx context.Context) (err error) {
	w := f.w
	if f.stored, err = w.a.sink.Position(ctx, w.partition); err != nil {
		return err
	}
	_, last, err := w.a.log.Bounds(ctx, w.partition)
	if err != nil {
		return fmt.Errorf("end of the log: %w", err)
	}
	if err := f.sameLog(ctx, last); err != nil {
		return err
	}
	w.stored.Store(f.stored.Sequence)
	ok, err := agrees(ctx, w.a.log, w.partition, w.gen)
	if err != nil && !errors.Is(err, errCutOff) {
		return err
	}
	// A state ahead of the sink would not say again what the sink lacks, one of an older version not all there is to say.
	if at, _ := w.gen.part.Position(); !ok || at > f.stored.Sequence || !w.gen.part.CellsWhole() {
		w.logger.Warn("the state for analytics is folded again: it is not behind ClickHouse, of another log, or of an older version",
			"state_position", at, "clickhouse_position", f.stored.Sequence)
		if w.gen, err = replaceGeneration(w.root, w.gen, w.a.genOptions(w.partition)); err != nil {
			return backoff.Permanent(err)
		}
		for _, at := range []*atomic.Uint64{&w.refreshed, &w.saved, &w.durable} {
			at.Store(0)
		}
	}
	if f.again, err = readIntent(w.root); err != nil {
		return backoff.Permanent(err)
	}
	if f.again.First != f.stored.Sequence+1 || f.again.Last > last {
		f.again = intent{}
	}
	f.block = &clickhouse.Block{Partition: w.partition}
	w.goal = f.stored.Sequence
	w.refreshedTo(w.refreshed.Load())
	return nil
}

// sameLog compares the last entry that the sink has with the log's.
func (f *folding) sameLog(ctx context.Context, last uint64) error {
	at := f.stored.Sequence
	if at > last {
		return fmt.Errorf("%w: it has entry %d, the log ends with %d", ErrSinkDisagrees, at, last)
	}
	if at == 0 {
		return nil
	}
	e, err := f.w.a.log.EntryAt(ctx, f.w.partition, at)
	switch {
	case errors.Is(err, eventlog.ErrNoEntry): // trimmed; the reader sees whether what follows is there
		return nil
	case err != nil:
		return fmt.Errorf("compare with the log: %w", err)
	case eventlog.Fingerprint(e) != f.stored.Fingerprint:
		return fmt.Errorf("%w: entry %d is another one", ErrSinkDisagrees, at)
	}
	return nil
}

// run folds what the sink has in silence, and what it lacks into blocks.
func (f *folding) run(ctx context.Context) error {
	f.refreshed, f.checkpointed = time.Now(), time.Now()
	if err := f.fromArchive(ctx); err != nil {
		return err
	}
	b := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(5*time.Second))
	for {
		err := f.follow(ctx, b.Reset)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !mayReadAgain(err):
			return err
		}
		delay := b.NextBackOff()
		f.w.logger.Warn("reading the log failed; trying again", "error", err, "after", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fromArchive folds what the state needs and the log no longer holds.
func (f *folding) fromArchive(ctx context.Context) error {
	w := f.w
	at, _ := w.gen.part.Position()
	first, _, err := w.a.log.Bounds(ctx, w.partition)
	if err != nil {
		return fmt.Errorf("begin of the log: %w", err)
	}
	if first <= at+1 {
		return nil
	}
	if first-1 > f.stored.Sequence {
		return fmt.Errorf("%w: and ClickHouse has it only up to %d",
			&eventlog.TrimmedError{Partition: w.partition, After: at, First: first}, f.stored.Sequence)
	}
	return w.a.sink.Replay(ctx, w.partition, w.a.log.Partitions(), at, first-1,
		func(x *projections.Decoded) error {
			if _, err := w.gen.part.Apply(*x); err != nil {
				return err
			}
			f.takeFacts()
			return f.maybeHandOver(ctx)
		})
}

func (f *folding) follow(ctx context.Context, healthy func()) error {
	at, _ := f.w.gen.part.Position()
	r, err := f.w.a.log.Read(ctx, f.w.partition, at)
	if err != nil {
		return fmt.Errorf("%w: %w", errReader, err)
	}
	defer r.Close()
	p := patience{end: func() {}}
	defer func() { p.end() }()
	for {
		e, here := r.TryNext()
		if !here {
			if e, here, err = f.wait(ctx, r, &p); err != nil {
				return fmt.Errorf("%w: %w", errReader, err)
			}
		}
		if here {
			healthy()
			if err := f.fold(ctx, &e); err != nil {
				return err
			}
		}
		if err := f.maybeHandOver(ctx); err != nil {
			return err
		}
	}
}

// fold folds an entry and adds it to the block if the sink lacks it.
func (f *folding) fold(ctx context.Context, e *eventlog.Entry) error {
	w := f.w
	if !f.block.Fits(e.Time.UnixMilli()) {
		if err := f.handOver(ctx); err != nil {
			return err
		}
	}
	outcomes, err := w.gen.apply(e, w.a.log.Partitions())
	if err != nil {
		return err
	}
	x := &w.gen.decoded
	f.takeFacts()
	if x.Sequence <= f.stored.Sequence {
		return nil
	}
	if f.block.Rows() == 0 {
		f.since = time.Now()
	}
	if x.Poison != "" {
		return f.block.AddPoison(x, e.Subject, e.Data)
	}
	return f.block.Add(x, outcomes, f.facts)
}

// takeFacts takes what the entry just folded did.
func (f *folding) takeFacts() { f.facts = f.w.gen.part.TakeFacts(f.facts[:0]) }

// maybeHandOver hands over what is due. While the writer is busy only a full block or much that changed makes the
// fold wait for it.
func (f *folding) maybeHandOver(ctx context.Context) error {
	o := &f.w.a.o
	b := f.block
	if f.again.Last != 0 { // the block has to become what it was
		if b.Last != f.again.Last {
			return nil
		}
		return f.handOver(ctx)
	}
	full := b.Rows() >= o.BlockRows || b.Bytes >= o.BlockBytes || f.w.gen.part.ChangedMessages() >= manyChanges
	if at, any := f.due(); full || any && f.w.pending.Load() == 0 && !time.Now().Before(at) {
		return f.handOver(ctx)
	}
	return nil
}

// handOver gives the writer the block and, at their times, the latest state of what changed and a capture of the own
// state.
func (f *folding) handOver(ctx context.Context) error {
	w, now := f.w, time.Now()
	d := &delivery{block: f.block, again: f.again}
	if now.Sub(f.refreshed) >= w.a.o.RefreshEvery || w.gen.part.ChangedMessages() >= manyChanges || w.gen.part.Changes() > mostChanges {
		f.refresh(d)
		f.refreshed = now
		if now.Sub(f.checkpointed) >= w.a.o.CheckpointEvery || w.gen.part.Changes() > manyChanges {
			if err := f.capture(ctx, d); err != nil {
				return err
			}
			f.checkpointed = now
		}
	}
	w.pending.Add(1)
	select {
	case w.work <- d:
	case <-ctx.Done():
		return ctx.Err()
	}
	var spent *clickhouse.Block
	select {
	case spent = <-w.spent:
	default:
	}
	f.block, f.again = f.block.Next(spent), intent{}
	return nil
}

// refresh adds the latest state of all messages and cells of the rollup that changed.
func (f *folding) refresh(d *delivery) {
	at, _ := f.w.gen.part.Position()
	d.refreshed = at
	f.messages = f.w.gen.part.TakeMessages(f.messages[:0])
	d.messages = make([]clickhouse.MessageRow, 0, len(f.messages))
	for _, m := range f.messages {
		d.messages = append(d.messages, clickhouse.MessageRow{AppMessage: m, Version: at})
	}
	clear(f.messages)
	f.cells = f.w.gen.part.TakeCells(f.cells[:0])
	d.cells = make([]clickhouse.CohortRow, 0, len(f.cells))
	for _, c := range f.cells {
		d.cells = append(d.cells, clickhouse.CohortRow{Cell: c, Version: at})
	}
	// An insert for each kind in a chunk: so few chunks have several.
	slices.SortStableFunc(d.cells, func(a, b clickhouse.CohortRow) int { return cmp.Compare(a.Kind, b.Kind) })
	clear(f.cells)
}

// capture adds a capture of the own state: everything up to it is in this delivery or in one before. The one before has
// to be committed.
func (f *folding) capture(ctx context.Context, d *delivery) (err error) {
	select {
	case f.w.free <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.capture, err = f.w.gen.part.Capture()
	return err
}

// mayReadAgain reports whether reading the log again may help.
func mayReadAgain(err error) bool {
	return errors.Is(err, errReader) && !errors.Is(err, eventlog.ErrGap) && !errors.Is(err, eventlog.ErrTrimmed) &&
		!errors.Is(err, eventlog.ErrAhead)
}
