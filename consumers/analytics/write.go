package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// job is what the fold hands over, to be written in this order.
type job struct {
	block *clickhouse.Block // may be empty
	// interrupted is set if the block was being inserted when an earlier process ended.
	interrupted Intent
	messages    []clickhouse.MessageRow
	cohorts     []clickhouse.CohortRow
	// refreshed is the entry at which all messages and cohorts are as this and earlier jobs
	// say, refreshedAt the broker's time of it; 0 if this one says nothing.
	refreshed   uint64
	refreshedAt int64
	// capture is the fold's state at the end of the block; nil for none. It is committed
	// once everything before it is confirmed.
	capture *projections.Checkpoint
	// written is closed when all of that is done; nil = nobody waits.
	written chan struct{}
}

// refreshRows bounds an insert of the latest state of messages or cohorts.
const refreshRows = 50_000

// encode makes ready what is to be written next.
func (w *worker) encode(ctx context.Context) error {
	for {
		select {
		case j := <-w.folded:
			if j.block.Rows() > 0 {
				j.block.Encode()
			}
			select {
			case w.encoded <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write writes what is handed over, one thing after another.
func (w *worker) write(ctx context.Context) error {
	for {
		select {
		case j := <-w.encoded:
			if err := w.finish(ctx, j); err != nil {
				return err
			}
			w.unfinished.Add(-1)
			if j.written != nil {
				close(j.written)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *worker) finish(ctx context.Context, j *job) error {
	if j.block.Rows() > 0 {
		if err := w.insert(ctx, j.block, j.interrupted); err != nil {
			return err
		}
		select {
		case w.recycled <- j.block:
		default:
		}
	}
	sink := w.c.sink
	if err := errors.Join(
		inChunks(ctx, w.c, "insert messages", j.messages, sink.InsertMessages),
		inChunks(ctx, w.c, "insert cohorts", j.cohorts, func(ctx context.Context, rows []clickhouse.CohortRow) error {
			return sink.InsertCohorts(ctx, w.partition, rows)
		}),
	); err != nil {
		return err
	}
	if j.refreshed != 0 {
		w.refreshedTo(j.refreshed, j.refreshedAt)
	}
	if j.capture == nil {
		return nil
	}
	return w.commit(j.capture)
}

func inChunks[T any](ctx context.Context, c *Consumer, what string, rows []T, insert func(context.Context, []T) error) error {
	for len(rows) > 0 {
		n := min(len(rows), refreshRows)
		if err := c.retry(ctx, what, func(ctx context.Context) error { return insert(ctx, rows[:n]) }); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// commit makes a capture durable: everything up to it is in the sink.
func (w *worker) commit(c *projections.Checkpoint) error {
	at := c.Sequence
	if err := w.gen.Store.Commit(c); err != nil {
		return err
	}
	w.gen.Part.Committed(c)
	w.saved.Store(at)
	<-w.capturing
	if err := w.gen.Store.Flush(); err != nil {
		return err
	}
	w.durable.Store(at)
	w.wholeSoon()
	return nil
}

// errNotStored means that the sink took a block for one that it has stored, by its token, and does
// not have it.
var errNotStored = errors.New("ClickHouse remembers the block and does not have it")

// insert stores a block exactly once. After an insert without a good answer it is the sink's
// position that tells whether the block is there; if not, the very same block is sent with the same
// token, so that it does not matter if the first one arrives after all.
//
// A server that died between remembering the token and keeping the rows takes the repeated block
// for a known one. The position tells that too, and the token gets another number.
func (w *worker) insert(ctx context.Context, b *clickhouse.Block, interrupted Intent) error {
	doubt, attempt := interrupted.Last != 0, interrupted.Attempt
	intended := false
	started := time.Now()
	err := w.c.retry(ctx, "insert events", func(ctx context.Context) error {
		if !intended {
			if err := w.c.o.Intents.Write(ctx, w.partition, Intent{First: b.First, Last: b.Last, Attempt: attempt}); err != nil {
				return err
			}
			intended = true
		}
		if doubt {
			if there, err := w.has(ctx, b); there || err != nil {
				return err
			}
		}
		if err := w.c.sink.Insert(ctx, b, b.Token(attempt)); err != nil {
			doubt = true
			w.failures.Add(1)
			if clickhouse.Refused(err) {
				return backoff.Permanent(&refusedError{err})
			}
			return err
		}
		if !doubt {
			return nil
		}
		if there, err := w.has(ctx, b); there || err != nil {
			return err
		}
		attempt, intended = attempt+1, false
		return errNotStored
	})
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return w.insertRefused(ctx, b, refused.error)
	}
	if err != nil {
		return err
	}
	w.logger.Debug("stored", "first", b.First, "last", b.Last, "rows", b.Rows(), "after", time.Since(started))
	w.stored.Store(b.Last)
	w.rows.Add(uint64(b.Rows()))
	w.blocks.Add(1)
	return nil
}

// has reports whether the sink has the block. The error is [ErrDisagrees] if it has something else
// in its place.
func (w *worker) has(ctx context.Context, b *clickhouse.Block) (bool, error) {
	switch p, err := w.position(ctx); {
	case err != nil:
		return false, err
	case p == b.Position():
		return true, nil
	case p.Sequence+1 != b.First:
		return false, fmt.Errorf("%w: it is at entry %d (%x) while %d to %d (%x) are written; another process writes there",
			ErrDisagrees, p.Sequence, p.Fingerprint, b.First, b.Last, b.Position().Fingerprint)
	}
	return false, nil
}

// refusedError is an insert that ClickHouse will never take.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// insertRefused stores a block that ClickHouse does not take, so that the entry at fault does not
// stop all others: in halves, down to that entry, which is stored as its bytes with the reason. The
// archive decodes it when it is read.
func (w *worker) insertRefused(ctx context.Context, b *clickhouse.Block, reason error) error {
	if head, tail, ok := b.Split(); ok {
		if err := w.insert(ctx, head, Intent{}); err != nil {
			return err
		}
		return w.insert(ctx, tail, Intent{})
	}
	w.logger.Error("ClickHouse refuses an entry; it is kept there as bytes", "sequence", b.First, "error", reason)
	e, err := w.c.log.EntryAt(ctx, w.partition, b.First)
	if err != nil {
		return fmt.Errorf("read the entry that ClickHouse refuses: %w", err)
	}
	bytes := &clickhouse.Block{Partition: w.partition}
	x := projections.Decoded{Sequence: e.Sequence, At: e.Time.UnixMilli(), Fingerprint: eventlog.Fingerprint(e), Leaf: eventlog.Leaf(e)}
	if err := bytes.AddRefused(&x, e.Subject, e.Data, e.MsgID, reason.Error()); err != nil {
		return err
	}
	if b.Position() != bytes.Position() {
		return fmt.Errorf("entry %d changed while it was stored", b.First)
	}
	if err := w.c.retry(ctx, "insert a refused entry", func(ctx context.Context) error {
		if there, err := w.has(ctx, bytes); there || err != nil {
			return err
		}
		return w.c.sink.Insert(ctx, bytes, bytes.Token(0)+"/bytes")
	}); err != nil {
		return err
	}
	w.refused.Add(1)
	w.stored.Store(bytes.Last)
	return nil
}
