package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

// Log is what [Follow] reads. [eventlog.Log] is one.
type Log interface {
	// Partitions is how many there are; it does not change while the log is open.
	Partitions() int
	// Fork is the partition that another one forked from when the log was repartitioned, and the
	// last entry that they have in common: see [eventlog.Log.Fork].
	Fork(partition int) (parent int, upto uint64)
	// Read opens a reader of a partition for the entries after a sequence.
	Read(ctx context.Context, partition int, after uint64) (*eventlog.Reader, error)
}

// Spans are where the entries of a partition after one and up to another one lie: see
// [eventlog.Log.Spans]. A log that does not say has them in one place.
func Spans(log Log, partition int, after, upto uint64) []eventlog.Span {
	if l, says := log.(interface {
		Spans(partition int, after, upto uint64) []eventlog.Span
	}); says {
		return l.Spans(partition, after, upto)
	}
	return []eventlog.Span{{Partition: partition, Partitions: log.Partitions(), After: after, Upto: upto}}
}

// Handler takes the entries of one partition in the order of the log, from one goroutine.
type Handler interface {
	// Handle takes the next entry, as a fold takes it and as the log stores it. An entry that
	// cannot be decoded comes with the reason in x.Poison. Both are valid only until Handle
	// returns, for their memory is used again. An error ends [Follow].
	Handle(ctx context.Context, x *projections.Decoded, stored *eventlog.Entry) error
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, x *projections.Decoded, stored *eventlog.Entry) error

// Handle calls the function.
func (f HandlerFunc) Handle(ctx context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
	return f(ctx, x, stored)
}

// TimedHandler is a [Handler] that also has something to do when no entry comes.
type TimedHandler interface {
	Handler
	// Deadline is when Expire is to be called unless an entry comes first; any is false if
	// nothing waits. It is asked whenever there is no entry to be had at once.
	Deadline() (at time.Time, any bool)
	// Expire is called when the deadline has passed. An error ends [Follow].
	Expire(ctx context.Context) error
}

// Options say what [Follow] reads.
type Options struct {
	Partition int
	// After is the sequence of the entry before the first that is wanted; 0 = from the start of
	// the log.
	After uint64
	// Upto is the sequence of the last entry that is wanted; 0 = there is no last one.
	Upto uint64
	// Logger is told when reading fails and is tried again; nil = slog's default.
	Logger *slog.Logger
}

// retryMax bounds the time between two attempts to read.
const retryMax = 5 * time.Second

// Follow hands a handler the entries of a partition until Upto has been handled, which is nil, or
// until ctx ends, whose error it returns.
//
// A reader that fails is replaced by one that starts after the last entry handled, after a pause
// that grows until an entry has been read again. There is no limit to the attempts, except for what
// no other reader would mend: [eventlog.ErrGap], [eventlog.ErrTrimmed], [eventlog.ErrAhead], an
// entry that a newer version wrote ([events.ErrVersion]), one from which on the log has more
// partitions than it was opened with ([eventlog.ErrFenced]), and whatever the handler returns,
// which Follow returns as it is.
func Follow(ctx context.Context, log Log, o Options, h Handler) error {
	l := newLoop(log, o, h)
	for !l.done() {
		err := l.read(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !mayReadAgain(err):
			return err
		}
		pause := l.retry.NextBackOff()
		l.retrying = true
		l.o.Logger.Warn("reading the log failed; trying again", "error", err, "after", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// errRead marks a failure of the log, as opposed to one of the handler.
var errRead = errors.New("read log")

// mayReadAgain reports whether another reader may do better.
func mayReadAgain(err error) bool {
	return errors.Is(err, errRead) && !errors.Is(err, eventlog.ErrGap) && !errors.Is(err, eventlog.ErrTrimmed) &&
		!errors.Is(err, eventlog.ErrAhead)
}

// loop is one call of Follow. Everything that an entry needs is part of it, so that an entry costs
// no allocation.
type loop struct {
	log     Log
	o       Options
	handler Handler
	timed   TimedHandler // the handler, if it is one

	after    uint64 // the last entry that was handled
	retry    *backoff.ExponentialBackOff
	retrying bool // nothing has been read since reading failed
	wait     timeout

	stored  eventlog.Entry
	batch   events.Batch
	decoded projections.Decoded
}

func newLoop(log Log, o Options, h Handler) *loop {
	l := &loop{log: log, o: o, after: o.After, handler: h}
	l.timed, _ = h.(TimedHandler)
	if l.o.Logger == nil {
		l.o.Logger = slog.Default()
	}
	l.retry = backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(retryMax))
	return l
}

func (l *loop) done() bool { return l.o.Upto != 0 && l.after >= l.o.Upto }

// read reads until the end, or until it fails.
func (l *loop) read(ctx context.Context) error {
	r, err := l.log.Read(ctx, l.o.Partition, l.after)
	if err != nil {
		return fmt.Errorf("%w: %w", errRead, err)
	}
	defer r.Close()
	defer l.wait.stop()
	for !l.done() {
		there, err := l.next(ctx, r)
		switch {
		case ctx.Err() != nil: // also while entries come without a wait, of a log of gigabytes
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: %w", errRead, err)
		case there:
			err = l.handle(ctx)
		default:
			err = l.timed.Expire(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// next reads the next entry; there is false if the handler's deadline passes first.
func (l *loop) next(ctx context.Context, r *eventlog.Reader) (there bool, err error) {
	if l.timed == nil {
		l.stored, err = r.Next(ctx)
		return err == nil, err
	}
	if l.stored, there = r.TryNext(); there {
		return true, nil
	}
	deadline, any := l.timed.Deadline()
	if !any {
		l.stored, err = r.Next(ctx)
		return err == nil, err
	}
	waiting := l.wait.until(ctx, deadline)
	l.stored, err = r.Next(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// handle decodes the entry that was read and hands it over.
func (l *loop) handle(ctx context.Context) error {
	if l.retrying {
		l.retrying = false
		l.retry.Reset()
	}
	e := &l.stored
	l.decoded = projections.Decoded{
		Sequence: e.Sequence, At: e.Time.UnixMilli(), Fingerprint: eventlog.Fingerprint(*e), Leaf: eventlog.Leaf(*e), Batch: &l.batch,
	}
	switch err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, e.Partitions, &l.batch); {
	case errors.Is(err, events.ErrVersion):
		// Not poison: a newer receiptd understands it, and would decide otherwise.
		return fmt.Errorf("entry %d: %w", e.Sequence, err)
	case err != nil:
		l.decoded.Poison = err.Error()
	case l.splits():
		// The half that leaves would be nowhere.
		return fmt.Errorf("entry %d: %w", e.Sequence, eventlog.ErrFenced)
	}
	if err := l.handler.Handle(ctx, &l.decoded, e); err != nil {
		return err
	}
	l.after = e.Sequence
	return nil
}

// splits reports whether the log has more partitions from the entry on than it was opened with. A
// fork point is alone in its entry.
func (l *loop) splits() bool {
	b := &l.batch
	return b.Len() == 1 && b.Kinds[0] == events.LogRepartitioned && b.AttributesOf(0).Revision > uint64(l.log.Partitions())
}

// timeout is a context with a deadline that often stays the same for many waits, and is then made
// once.
type timeout struct {
	deadline time.Time
	ctx      context.Context
	cancel   context.CancelFunc
}

func (t *timeout) until(ctx context.Context, deadline time.Time) context.Context {
	if t.ctx == nil || !deadline.Equal(t.deadline) {
		t.stop()
		t.deadline = deadline
		t.ctx, t.cancel = context.WithDeadline(ctx, deadline)
	}
	return t.ctx
}

func (t *timeout) stop() {
	if t.cancel != nil {
		t.cancel()
	}
	*t = timeout{}
}
