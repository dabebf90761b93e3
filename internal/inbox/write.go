package inbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// maxBatch is what JetStream takes in one atomic batch.
	maxBatch = 1000
	// minBatch is the number of messages from which an atomic batch is cheaper than a sync for
	// each: a batch of any size costs several syncs, since the server keeps it apart until it is
	// complete.
	minBatch = 24
	// maxBatchBytes bounds what one batch holds up.
	maxBatchBytes = 8 << 20
	// maxQueuedBytes bounds the messages that wait, by what they take on the disk.
	maxQueuedBytes = 64 << 20
	// overhead is roughly what a message costs besides its bytes.
	overhead = 256

	publishTimeout = 5 * time.Second
	publishTries   = 3
)

// writer gathers what many senders append: while one batch is being stored, the next one grows.
type writer struct {
	mu     sync.Mutex
	queue  []envelope
	bytes  int
	closed bool
	wake   chan struct{}
}

// envelope is a message to one recipient.
type envelope struct {
	subject string
	data    []byte
	ticket  *Ticket
}

// Ticket is one Append under way.
type Ticket struct {
	left int // envelopes not stored yet; the writer's
	err  error
	done chan struct{}
}

// Wait returns nil once the message is durable in all inboxes. With an error it may be in some of
// them.
func (t *Ticket) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) init() { w.wake = make(chan struct{}, 1) }

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
}

// Append queues a message for the inboxes of the users. It does not wait until it is stored;
// [Ticket.Wait] does. With an error nothing is queued: [ErrTooLarge], [ErrOverloaded], [ErrClosed],
// or that the disk has no room. The bytes must not be changed afterwards.
func (b *Inbox) Append(app string, users []string, message []byte) (*Ticket, error) {
	if len(message) > MaxMessageBytes {
		return nil, ErrTooLarge
	}
	cost := len(users) * (len(message) + overhead)
	if b.cfg.Room != nil {
		if err := b.cfg.Room(int64(cost)); err != nil {
			return nil, fmt.Errorf("inbox: %w", err)
		}
	}
	t := &Ticket{left: len(users), done: make(chan struct{})}
	if len(users) == 0 {
		close(t.done)
		return t, nil
	}
	w := &b.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, ErrClosed
	case w.bytes > 0 && w.bytes+cost > maxQueuedBytes:
		return nil, ErrOverloaded
	}
	w.bytes += cost
	for _, user := range users {
		w.queue = append(w.queue, envelope{messagePrefix + userKey(app, user), message, t})
	}
	b.metrics.queued.Set(float64(w.bytes))
	w.signal()
	return t, nil
}

// write is the writer's goroutine.
func (b *Inbox) write() {
	for {
		batch := b.writer.take()
		if len(batch) == 0 {
			if b.ctx.Err() != nil {
				return
			}
			select {
			case <-b.writer.wake:
			case <-b.ctx.Done():
			}
			continue
		}
		err := b.store(batch)
		b.writer.finish(batch, err)
		b.metrics.queued.Set(float64(b.writer.queued()))
	}
}

func (w *writer) take() []envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, bytes := 0, 0
	for n < len(w.queue) && n < maxBatch && (n == 0 || bytes+len(w.queue[n].data) <= maxBatchBytes) {
		bytes += len(w.queue[n].data)
		n++
	}
	batch := w.queue[:n:n]
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue = nil
	}
	return batch
}

func (w *writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// finish ends the orders whose envelopes are all stored, or failed.
func (w *writer) finish(batch []envelope, err error) {
	freed := 0
	for i := range batch {
		d := &batch[i]
		freed += len(d.data) + overhead
		if err != nil {
			d.ticket.err = err
		}
		if d.ticket.left--; d.ticket.left == 0 {
			close(d.ticket.done)
		}
	}
	w.mu.Lock()
	w.bytes -= freed
	w.mu.Unlock()
}

// store puts a batch into the stream; with an error, any part of it may be there. An attempt whose
// answer was lost is repeated, which may store a message twice; its id is the same, and clients
// drop what they have seen.
func (b *Inbox) store(batch []envelope) error {
	msgs := make([]*nats.Msg, len(batch))
	for i := range batch {
		msgs[i] = &nats.Msg{Subject: batch[i].subject, Data: batch[i].data, Header: nats.Header{}}
	}
	err := b.publish(b.ctx, msgs)
	if err != nil {
		b.metrics.failed.Inc()
		if b.ctx.Err() != nil {
			return ErrClosed
		}
		b.logger.Error("messages could not be stored", "messages", len(msgs), "error", err)
		return fmt.Errorf("inbox: store: %w", err)
	}
	b.metrics.batches.Inc()
	b.metrics.stored.Add(float64(len(msgs)))
	return nil
}

// publish stores messages: a small number with a sync for each, more as one atomic batch.
func (b *Inbox) publish(ctx context.Context, msgs []*nats.Msg) error {
	policy := backoff.WithContext(backoff.WithMaxRetries(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(time.Second)), publishTries-1), ctx)
	return backoff.Retry(func() error {
		// An attempt under way is not cut off: its outcome would not be known.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
		defer cancel()
		if len(msgs) < minBatch {
			return b.publishEach(ctx, msgs)
		}
		_, err := jetstreamext.PublishMsgBatch(ctx, b.js, msgs, jetstreamext.BatchFlowControl{})
		return err
	}, policy)
}

// publishEach has all messages under way at the same time.
func (b *Inbox) publishEach(ctx context.Context, msgs []*nats.Msg) error {
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, msg := range msgs {
		var err error
		if futures[i], err = b.js.PublishMsgAsync(&nats.Msg{Subject: msg.Subject, Data: msg.Data}, jetstream.WithRetryAttempts(0)); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
