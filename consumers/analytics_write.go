package consumers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// delivery is what the folding goroutine hands over to the writing one, to be written in this order.
type delivery struct {
	block *clickhouse.Block // may be empty
	// again is set if the block was being inserted when an earlier process ended.
	again    intent
	messages []clickhouse.MessageRow
	cells    []clickhouse.CohortRow
	// refreshed is the entry at which all messages and cells are as this and earlier deliveries say; 0 if this one
	// says nothing.
	refreshed uint64
	// capture is of the own state, at the end of the block; nil for none. It is committed when all before it is
	// confirmed.
	capture *projections.Checkpoint
}

// refreshRows bounds an insert of the latest state of messages or cells.
const refreshRows = 50_000

// encode makes ready what is to be written next.
func (w *archivist) encode(ctx context.Context) error {
	for {
		select {
		case d := <-w.work:
			if d.block.Rows() > 0 {
				d.block.Encode()
			}
			select {
			case w.encoded <- d:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write writes what is handed over, one thing after another.
func (w *archivist) write(ctx context.Context) error {
	for {
		select {
		case d := <-w.encoded:
			if err := w.deliver(ctx, d); err != nil {
				return err
			}
			w.pending.Add(-1)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *archivist) deliver(ctx context.Context, d *delivery) error {
	if d.block.Rows() > 0 {
		if err := w.insert(ctx, d.block, d.again); err != nil {
			return err
		}
		select {
		case w.spent <- d.block:
		default:
		}
	}
	sink := w.a.sink
	if err := errors.Join(
		inChunks(ctx, w.a, "insert messages", d.messages, sink.InsertMessages),
		inChunks(ctx, w.a, "insert cells", d.cells, func(ctx context.Context, rows []clickhouse.CohortRow) error {
			return sink.InsertCohorts(ctx, w.partition, rows)
		}),
	); err != nil {
		return err
	}
	if d.refreshed != 0 {
		w.refreshedTo(d.refreshed)
	}
	if d.capture == nil {
		return nil
	}
	return w.commit(d.capture)
}

func inChunks[T any](ctx context.Context, a *Analytics, what string, rows []T, insert func(context.Context, []T) error) error {
	for len(rows) > 0 {
		n := min(len(rows), refreshRows)
		if err := a.retry(ctx, what, func(ctx context.Context) error { return insert(ctx, rows[:n]) }); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// commit makes a capture durable: everything up to it is in the sink.
func (w *archivist) commit(c *projections.Checkpoint) error {
	at := c.Sequence
	if err := w.gen.store.Commit(c); err != nil {
		return err
	}
	w.gen.part.Committed(c)
	w.saved.Store(at)
	<-w.free
	if err := w.gen.store.Flush(); err != nil {
		return err
	}
	w.durable.Store(at)
	return nil
}

// errNotKept: the sink took a block's token for that of a block it has, and does not have it.
var errNotKept = errors.New("ClickHouse remembers the block and does not have it")

// insert stores a block exactly once. After an insert without a good answer it is the sink's position that tells
// whether the block is there; if not, the very same block is sent with the same token, so that it does not matter if
// the first one arrives after all.
//
// A server that died between remembering the token and keeping the rows takes the repeated block for a known one.
// The position tells that too, and the token gets another number.
func (w *archivist) insert(ctx context.Context, b *clickhouse.Block, again intent) error {
	doubt, attempt := again.Last != 0, again.Attempt
	intended := false
	started := time.Now()
	err := w.a.retry(ctx, "insert events", func(ctx context.Context) error {
		if !intended {
			if err := writeIntent(w.root, intent{First: b.First, Last: b.Last, Attempt: attempt}); err != nil {
				return err
			}
			intended = true
		}
		if doubt {
			if there, err := w.has(ctx, b); there || err != nil {
				return err
			}
		}
		if err := w.a.sink.Insert(ctx, b, b.Token(attempt)); err != nil {
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
		return errNotKept
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

// has reports whether the sink has the block. The error is [ErrSinkDisagrees] if it has something else in its place.
func (w *archivist) has(ctx context.Context, b *clickhouse.Block) (bool, error) {
	switch p, err := w.a.sink.Position(ctx, w.partition); {
	case err != nil:
		return false, err
	case p == b.Position():
		return true, nil
	case p.Sequence+1 != b.First:
		return false, fmt.Errorf("%w: it is at entry %d (%x) while %d to %d (%x) are written; another process writes there",
			ErrSinkDisagrees, p.Sequence, p.Fingerprint, b.First, b.Last, b.Position().Fingerprint)
	}
	return false, nil
}

// refusedError is an insert that ClickHouse will never take.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// insertRefused stores a block that ClickHouse does not take, so that the entry at fault does not stop all others: in halves, down to that
// entry, which is stored as its bytes with the reason. The archive decodes it when it is read.
func (w *archivist) insertRefused(ctx context.Context, b *clickhouse.Block, reason error) error {
	if head, tail, ok := b.Split(); ok {
		if err := w.insert(ctx, head, intent{}); err != nil {
			return err
		}
		return w.insert(ctx, tail, intent{})
	}
	w.logger.Error("ClickHouse refuses an entry; it is kept there as bytes", "sequence", b.First, "error", reason)
	e, err := w.a.log.EntryAt(ctx, w.partition, b.First)
	if err != nil {
		return fmt.Errorf("read the entry that ClickHouse refuses: %w", err)
	}
	bytes := &clickhouse.Block{Partition: w.partition}
	x := placeOf(&e)
	if err := bytes.AddRefused(&x, e.Subject, e.Data, reason.Error()); err != nil {
		return err
	}
	if b.Position() != bytes.Position() {
		return fmt.Errorf("entry %d changed while it was stored", b.First)
	}
	if err := w.a.retry(ctx, "insert a refused entry", func(ctx context.Context) error {
		if there, err := w.has(ctx, bytes); there || err != nil {
			return err
		}
		return w.a.sink.Insert(ctx, bytes, bytes.Token(0)+"/bytes")
	}); err != nil {
		return err
	}
	w.refused.Add(1)
	w.stored.Store(bytes.Last)
	return nil
}
