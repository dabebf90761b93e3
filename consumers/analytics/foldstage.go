package analytics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// foldStage is the first stage of a worker: it folds entries, and hands over what is to be written.
// It is a [consumers.TimedHandler].
type foldStage struct {
	w *worker
	// stored is what the sink had at the start: up to it there is nothing to add to the table
	// of events.
	stored clickhouse.Position
	// interrupted is the block that was being inserted when the process ended, if the sink does
	// not have it; zero for none.
	interrupted Intent

	block      *clickhouse.Block
	blockBegan time.Time // when the block's first entry was folded
	facts      []projections.Fact

	// wanted is closed when what is handed over next was written; nil = nobody waits for that.
	wanted chan struct{}

	messages                []projections.AppMessage
	cohorts                 []projections.Cohort
	refreshed, checkpointed time.Time
}

// resume finds out where to go on: after what the sink has, with a state that the log agrees with.
func (f *foldStage) resume(ctx context.Context) (err error) {
	w := f.w
	// Before anything else: from here on whoever filled the sink before notes no other block. The
	// last one may still arrive, which is why it is repeated if the sink does not have it.
	var lost error
	if f.interrupted, lost = w.c.o.Intents.Read(ctx, w.partition); lost != nil && !errors.Is(lost, ErrIntentLost) {
		return lost
	}
	last, err := f.compare(ctx)
	if err != nil {
		return err
	}
	if lost != nil || f.stored.Sequence != w.fork && !f.interrupted.follows(f.stored.Sequence) {
		if err := f.waitForInserts(ctx, lost); err != nil {
			return err
		}
		if last, err = f.compare(ctx); err != nil {
			return err
		}
	}
	w.stored.Store(f.stored.Sequence)
	ok, err := w.gen.Agrees(ctx, w.c.log, w.partition)
	if err != nil && !errors.Is(err, fold.ErrCutOff) {
		return err
	}
	// A state ahead of the sink would not repeat what the sink lacks, and one of an older
	// version does not hold everything that the sink is to get, or was decided otherwise.
	if at, _ := w.gen.Part.Position(); !ok || at > f.stored.Sequence || !w.gen.Part.CohortsComplete() || w.gen.Part.OlderRules() {
		w.logger.Warn("the state for analytics is folded again: it is not behind ClickHouse, of another log, or of an older version",
			"state_position", at, "clickhouse_position", f.stored.Sequence)
		if w.gen, err = fold.Replace(w.root, w.gen, w.c.foldOptions(w.partition)); err != nil {
			return backoff.Permanent(err)
		}
		w.standAt(0)
	}
	if f.interrupted.First != f.stored.Sequence+1 || f.interrupted.Last > last {
		f.interrupted = Intent{}
	}
	f.block = &clickhouse.Block{Partition: w.partition}
	w.sinkAtStart = f.stored.Sequence
	w.refreshedTo(w.refreshed.Load(), w.gen.Part.Stats().Clock)
	return nil
}

// waitForInserts waits until none can be under way of which the note is lost, or another one is in
// its place: what arrived after the same entries were sent in other blocks would be there twice.
func (f *foldStage) waitForInserts(ctx context.Context, lost error) error {
	w := f.w
	if wait := time.Until(w.opened.Add(w.c.o.InsertMost)); wait > 0 {
		w.logger.Warn("what was inserted last is not known: waiting until no insert can be under way any more",
			"noted", f.interrupted, "clickhouse_position", f.stored.Sequence, "error", lost, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.interrupted = Intent{}
	return nil
}

// compare asks where the sink is, and compares that with the log, whose last entry it returns.
func (f *foldStage) compare(ctx context.Context) (last uint64, err error) {
	if f.stored, err = f.w.position(ctx); err != nil {
		return 0, err
	}
	if _, last, err = f.w.c.log.Bounds(ctx, f.w.partition); err != nil {
		return 0, fmt.Errorf("end of the log: %w", err)
	}
	return last, f.sameLog(ctx, last)
}

// sameLog compares the last entry that the sink has with the log's.
func (f *foldStage) sameLog(ctx context.Context, last uint64) error {
	at := f.stored.Sequence
	if at > last {
		return fmt.Errorf("%w: it has entry %d, the log ends with %d", ErrDisagrees, at, last)
	}
	if at == 0 {
		return nil
	}
	e, err := f.w.c.log.EntryAt(ctx, f.w.partition, at)
	switch {
	case errors.Is(err, eventlog.ErrNoEntry):
		// The entry has left the log. If what follows it has left as well, the reader will say so.
		return nil
	case err != nil:
		return fmt.Errorf("compare with the log: %w", err)
	case eventlog.Fingerprint(e) != f.stored.Fingerprint:
		return fmt.Errorf("%w: entry %d is another one", ErrDisagrees, at)
	}
	return nil
}

// run folds what the sink has without adding it to a block, and what it lacks into blocks.
func (f *foldStage) run(ctx context.Context) error {
	w := f.w
	f.refreshed, f.checkpointed = time.Now(), time.Now()
	if f.w.gen.Part.SplitDue() { // which a crash cut off
		if err := f.split(ctx); err != nil {
			return err
		}
	}
	if err := f.fromArchive(ctx); err != nil {
		return err
	}
	at, _ := w.gen.Part.Position()
	return consumers.Follow(ctx, w.c.log, consumers.Options{
		Partition: w.partition, After: at, Logger: w.logger,
	}, f)
}

// fromArchive folds what the state needs and the log no longer holds.
func (f *foldStage) fromArchive(ctx context.Context) error {
	w := f.w
	at, _ := w.gen.Part.Position()
	first, _, err := w.c.log.Bounds(ctx, w.partition)
	if err != nil {
		return fmt.Errorf("start of the log: %w", err)
	}
	if first <= at+1 {
		return nil
	}
	if first-1 > f.stored.Sequence {
		return fmt.Errorf("%w: and ClickHouse has it only up to %d",
			&eventlog.TrimmedError{Partition: w.partition, After: at, First: first}, f.stored.Sequence)
	}
	for _, s := range consumers.Spans(w.c.log, w.partition, at, first-1) {
		err := w.c.sink.Replay(ctx, clickhouse.Span(s), func(x *projections.Decoded) error {
			return f.Handle(ctx, x, nil) // which is in the sink
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Handle folds an entry, adds it to the block if the sink lacks it, and hands over what is due.
func (f *foldStage) Handle(ctx context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
	if !f.block.Fits(x.At) {
		if err := f.handOver(ctx); err != nil {
			return err
		}
	}
	if x.Repartitions() {
		if err := f.handOverAll(ctx); err != nil {
			return err
		}
	}
	outcomes, err := f.w.gen.Part.Apply(*x)
	if err != nil {
		return err
	}
	f.takeFacts()
	if x.Sequence > f.stored.Sequence {
		if f.block.Rows() == 0 {
			f.blockBegan = time.Now()
		}
		if x.Poison != "" {
			err = f.block.AddPoison(x, stored.Subject, stored.Data)
		} else {
			err = f.block.Add(x, outcomes, f.facts)
		}
		if err != nil {
			return err
		}
	}
	if x.Repartitions() && f.w.gen.Part.SplitDue() {
		return f.split(ctx)
	}
	return f.maybeHandOver(ctx)
}

// takeFacts takes what the entry just folded did.
func (f *foldStage) takeFacts() { f.facts = f.w.gen.Part.TakeFacts(f.facts[:0]) }

// repeating reports whether the block has to become what an interrupted one was.
func (f *foldStage) repeating() bool { return f.interrupted.Last != 0 }

// maybeHandOver hands over what is due. While the writer is busy, only a full block or a great many
// changes make the fold wait for it.
func (f *foldStage) maybeHandOver(ctx context.Context) error {
	o := &f.w.c.o
	b := f.block
	if f.repeating() {
		if b.Last != f.interrupted.Last {
			return nil
		}
		return f.handOver(ctx)
	}
	full := b.Rows() >= o.BlockRows || b.Bytes >= o.BlockBytes || f.w.gen.Part.ChangedMessages() >= fold.ManyChanges
	if at, any := f.nextHandOver(); full || any && f.w.unfinished.Load() == 0 && !time.Now().Before(at) {
		return f.handOver(ctx)
	}
	return nil
}

// handOver gives the next stage the block and, when they are due, the latest state of what changed
// and a capture of the fold's state.
func (f *foldStage) handOver(ctx context.Context) error {
	w, now := f.w, time.Now()
	j := &job{block: f.block, interrupted: f.interrupted, written: f.wanted}
	part := w.gen.Part
	if now.Sub(f.refreshed) >= w.c.o.RefreshEvery || part.ChangedMessages() >= fold.ManyChanges || part.Changes() > fold.MaxChanges {
		f.refresh(j)
		f.refreshed = now
		if now.Sub(f.checkpointed) >= w.c.o.CheckpointEvery || part.Changes() > fold.ManyChanges {
			if err := f.capture(ctx, j); err != nil {
				return err
			}
			f.checkpointed = now
		}
	}
	w.unfinished.Add(1)
	select {
	case w.folded <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	var recycled *clickhouse.Block
	select {
	case recycled = <-w.recycled:
	default:
	}
	f.block, f.interrupted = f.block.Next(recycled), Intent{}
	return nil
}

// refresh adds the latest state of all messages and cohorts that changed.
func (f *foldStage) refresh(j *job) {
	at, _ := f.w.gen.Part.Position()
	j.refreshed, j.refreshedAt = at, f.w.gen.Part.Stats().Clock
	version := clickhouse.Version(at)
	f.messages = f.w.gen.Part.TakeMessages(f.messages[:0])
	j.messages = make([]clickhouse.MessageRow, 0, len(f.messages))
	for _, m := range f.messages {
		j.messages = append(j.messages, clickhouse.MessageRow{AppMessage: m, Version: version})
	}
	clear(f.messages)
	if at < f.w.fork { // the worker of the other partition does that
		j.messages = nil
	}
	f.cohorts = f.w.gen.Part.TakeCohorts(f.cohorts[:0])
	j.cohorts = make([]clickhouse.CohortRow, 0, len(f.cohorts))
	for _, c := range f.cohorts {
		j.cohorts = append(j.cohorts, clickhouse.CohortRow{Cohort: c, Version: version})
	}
	// There is an insert for each kind in a chunk: sorted, few chunks have several kinds.
	slices.SortStableFunc(j.cohorts, func(a, b clickhouse.CohortRow) int { return cmp.Compare(a.Kind, b.Kind) })
	clear(f.cohorts)
	if at < f.w.fork {
		j.cohorts = nil
	}
}

// capture adds a capture of the fold's state: everything up to it is in this job or an earlier one.
// The capture before it has to be committed.
func (f *foldStage) capture(ctx context.Context, j *job) (err error) {
	select {
	case f.w.capturing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	j.capture, err = f.w.gen.Part.Capture()
	return err
}
