package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Entry is what the log stores at one sequence of a partition: a batch of events or, from an
// outside producer, a single one.
type Entry struct {
	Sequence uint64
	// Time is when the broker stored the entry. Folds know no other clock.
	Time    time.Time
	Subject string
	// Data may be kept: nothing writes to it again.
	Data []byte
	// MsgID is the name that the entry's publisher gave it, as Nats-Msg-Id; empty if there is
	// none.
	MsgID string
	// Partitions is how many partitions the log had then.
	Partitions int
}

// Reader reads one partition, entry by entry, without a gap. Its methods are for one goroutine.
//
// It reads from an ephemeral consumer without acknowledgements. Whenever that breaks or skips
// something, the reader makes another one that begins after the last entry it returned.
type Reader struct {
	log       *Log
	partition int
	onlyIDs   bool

	last     uint64    // sequence of the last entry returned
	lastTime time.Time // its time; zero before the first
	consumer *consumer // nil while there is none
	putBack  *message  // taken from the consumer and not returned yet
	err      error     // final
}

// Read opens a reader of a partition for the entries after a sequence; 0 means from the very first
// entry. The error is a [*TrimmedError] if the entry after that sequence has left the log, and an
// [*AheadError] if the log ends before it. Close the reader when it is not needed any more.
func (l *Log) Read(ctx context.Context, partition int, after uint64) (*Reader, error) {
	return l.openReader(ctx, partition, after, false)
}

func (l *Log) openReader(ctx context.Context, partition int, after uint64, onlyIDs bool) (*Reader, error) {
	if err := l.checkPartition(partition); err != nil {
		return nil, err
	}
	r := &Reader{log: l, partition: partition, onlyIDs: onlyIDs, last: after}
	var err error
	if r.consumer, err = r.consume(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Next returns the next entry, and waits for it to be stored if need be. It survives the loss of
// the connection and restarts of the server, and waits meanwhile. The error is either that of ctx,
// after which Next may be called again, or a final one: [ErrClosed], or one that says what is
// missing and wraps [ErrGap], [ErrTrimmed] or [ErrAhead].
func (r *Reader) Next(ctx context.Context) (Entry, error) {
	m, err := r.next(ctx)
	return m.Entry, err
}

func (r *Reader) next(ctx context.Context) (message, error) {
	for r.err == nil {
		if ctx.Err() != nil { // also while entries are at hand
			return message{}, context.Cause(ctx)
		}
		if r.consumer == nil {
			if err := r.reopen(ctx); err != nil {
				return message{}, err
			}
		}
		if r.consumer.ended(r.last) {
			r.end()
			continue
		}
		m, err := r.receive(ctx)
		switch {
		case err != nil:
			return message{}, err
		case m == nil:
			r.drop()
		case m.Sequence == r.last+1:
			r.last, r.lastTime = m.Sequence, m.Time
			m.Partitions = r.log.partitionsAt(r.partition, r.last)
			return *m, nil
		default:
			r.err = r.skipped(ctx, m)
		}
	}
	return message{}, r.err
}

// TryNext returns the next entry if that is here already. It never waits; false does not mean that
// the log ends.
func (r *Reader) TryNext() (Entry, bool) {
	if r.err != nil || r.consumer == nil || r.putBack != nil || r.consumer.ended(r.last) {
		return Entry{}, false
	}
	select {
	case m := <-r.consumer.messages:
		if m.Sequence == r.last+1 {
			r.last, r.lastTime = m.Sequence, m.Time
			m.Partitions = r.log.partitionsAt(r.partition, r.last)
			return m.Entry, true
		}
		r.putBack = &m // for Next to judge
	default:
	}
	return Entry{}, false
}

// Last is the sequence of the last entry returned or, before the first one, the sequence that was
// given to [Log.Read].
func (r *Reader) Last() uint64 { return r.last }

// Close ends the reader. From then on Next fails with [ErrClosed].
func (r *Reader) Close() {
	if r.err == nil {
		r.err = ErrClosed
	}
	if r.consumer != nil {
		r.end()
	}
}

// end removes the consumer, which is not needed any more.
func (r *Reader) end() {
	c := r.consumer
	r.drop()
	r.log.deleteConsumer(c.home, c.name)
}

// receive takes the next message from the consumer; nil means that the consumer is broken.
func (r *Reader) receive(ctx context.Context) (*message, error) {
	if m := r.putBack; m != nil {
		r.putBack = nil
		return m, nil
	}
	select {
	case m := <-r.consumer.messages:
		return &m, nil
	default:
	}
	select {
	case m := <-r.consumer.messages:
		return &m, nil
	case err := <-r.consumer.broken:
		r.log.logger.Debug("a reader's consumer broke", slog.Int("partition", r.partition), slog.Any("error", err))
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// skipped judges a message that does not follow the last one. If it is the first one that its
// consumer sent, the log itself has nothing in between; otherwise messages were lost on the way,
// and another consumer will send them.
func (r *Reader) skipped(ctx context.Context, m *message) error {
	r.drop()
	if m.number != 1 || m.Sequence <= r.last {
		return nil
	}
	first, _, err := r.log.Bounds(ctx, r.partition)
	if err != nil {
		return nil // the next consumer will skip as well
	}
	if first > r.last+1 {
		return &TrimmedError{Partition: r.partition, After: r.last, First: first}
	}
	if r.log.replicated(r.partition) {
		// A gap of one replica is none of the log: the next consumer may be on another server.
		switch _, err := r.log.EntryAt(ctx, r.partition, r.last+1); {
		case err == nil:
			r.log.logger.Error("a replica of the log lacks an entry that others have", "partition", r.partition, "entry", r.last+1, "next", m.Sequence)
			return nil
		case !errors.Is(err, ErrNoEntry):
			return nil
		}
	}
	return &GapError{Partition: r.partition, Want: r.last + 1, Have: m.Sequence}
}

// reopen makes a consumer, and tries again until that succeeds, ctx ends, or the log says why it
// never will.
func (r *Reader) reopen(ctx context.Context) error {
	retry := newBackOff()
	for {
		c, err := r.consume(ctx)
		switch {
		case err == nil:
			r.consumer = c
			return nil
		case errors.Is(err, ErrClosed), errors.Is(err, ErrTrimmed), errors.Is(err, ErrAhead):
			r.err = err
			return err
		}
		r.log.logger.Debug("a reader has no consumer yet", slog.Int("partition", r.partition), slog.Any("error", err))
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *Reader) drop() {
	r.consumer.stop()
	r.consumer = nil
}
