package inbox

import (
	"context"
	"fmt"
	"slices"
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
	// maxBatchBytes bounds what is stored together.
	maxBatchBytes = 8 << 20
	// overhead is roughly what a record costs besides its bytes.
	overhead = 256
	// maxCopies bounds the bytes of a message with all its copies up to which it lies in the
	// inboxes themselves, rather than once with a reference to it in each: that takes one step and
	// not two, and no more room.
	maxCopies = 4 << 10
	// appShare is the part of an app's bytes that one message may take.
	appShare = 8

	publishTimeout = 5 * time.Second
	publishTries   = 3
)

// Message is what a sender has for other users.
type Message struct {
	// App, Sender and Conversation are whose shares it takes.
	App, Sender, Conversation string
	// Users are those into whose inboxes it goes.
	Users []string
	// Data is the message. It must not be changed afterwards.
	Data []byte
}

// copied reports whether the message lies in the inboxes themselves.
func (m *Message) copied() bool { return len(m.Users)*len(m.Data) <= maxCopies || len(m.Users) == 1 }

// cost is about what the message takes on the disk.
func (m *Message) cost() int {
	if m.copied() {
		return len(m.Users) * (len(m.Data) + overhead)
	}
	return len(m.Data) + (len(m.Users)+1)*overhead
}

// Append queues a message for the inboxes of its users. It does not wait until it is stored;
// [Ticket.Wait] does. With an error nothing is queued: [ErrTooLarge], [ErrOverloaded], errClosed,
// or that the disk has no room.
func (b *Inbox) Append(m Message) (*Ticket, error) {
	l := &queuedMessage{Message: m, cost: m.cost(), ticket: &Ticket{done: make(chan struct{})}}
	if len(m.Data) > maxMessageBytes || int64(l.cost) > b.cfg.MaxBytes/appShare {
		return nil, ErrTooLarge
	}
	if len(m.Users) == 0 {
		l.ticket.finish(nil)
		return l.ticket, nil
	}
	if b.cfg.Room != nil {
		if err := b.cfg.Room(int64(l.cost)); err != nil {
			return nil, fmt.Errorf("inbox: %w", err)
		}
	}
	o, err := b.app(m.App)
	if err != nil {
		return nil, err
	}
	if n := b.addQueued(l.cost); n > maxQueuedBytes && !o.queue.idle() {
		err = ErrOverloaded
	} else {
		err = o.queue.put(l)
	}
	if err != nil {
		b.addQueued(-l.cost)
		return nil, err
	}
	return l.ticket, nil
}

// addQueued counts bytes that wait, and returns how many do.
func (b *Inbox) addQueued(n int) int64 {
	all := b.queued.Add(int64(n))
	b.metrics.queued.Set(float64(all))
	return all
}

// store puts messages into the stream, bodies first, and finishes their tickets; with an error, any
// part of a message may be there. An attempt whose answer was lost is repeated, which may store a
// message twice; its id is the same, and clients drop what they have seen.
func (o *appInboxes) store(list []*queuedMessage) {
	failed := make(map[*queuedMessage]error)
	sequences := o.storeBodies(list, failed)
	// Of each record, whose it is.
	var records []*nats.Msg
	var of []*queuedMessage
	for _, l := range list {
		if failed[l] != nil {
			continue
		}
		var record []byte
		if l.copied() {
			record = append([]byte{kindMessage}, l.Data...)
		} else {
			record = reference(sequences[l])
		}
		sender := token(l.Sender)
		for _, user := range l.Users {
			records = append(records, &nats.Msg{Subject: o.boxes + token(user) + "." + sender, Data: record})
			of = append(of, l)
		}
	}
	for len(records) > 0 {
		n := min(len(records), maxBatch)
		if err := o.put(records[:n]); err != nil {
			for _, l := range of[:n] {
				failed[l] = err
			}
		}
		records, of = records[n:], of[n:]
	}
	for _, l := range list {
		l.ticket.finish(failed[l])
	}
}

// put stores records of inboxes.
func (o *appInboxes) put(records []*nats.Msg) error {
	_, err := o.inbox.publish(o.inbox.ctx, records)
	if err != nil {
		return o.failed(len(records), err)
	}
	o.inbox.metrics.batches.Inc()
	o.inbox.metrics.stored.Add(float64(len(records)))
	return nil
}

func (o *appInboxes) failed(n int, err error) error {
	o.inbox.metrics.failed.Inc()
	if o.inbox.ctx.Err() != nil {
		return errClosed
	}
	o.inbox.logger.Error("messages could not be stored", "app", o.app, "messages", n, "error", err)
	return fmt.Errorf("inbox: store: %w", err)
}

// storeBodies stores the bodies of messages that are not copied into the inboxes, a sync for each,
// and returns their sequences.
func (o *appInboxes) storeBodies(list []*queuedMessage, failed map[*queuedMessage]error) map[*queuedMessage]uint64 {
	whole := slices.DeleteFunc(slices.Clone(list), func(l *queuedMessage) bool { return l.copied() })
	sequences := make(map[*queuedMessage]uint64, len(whole))
	for part := range slices.Chunk(whole, minBatch-1) {
		msgs := make([]*nats.Msg, len(part))
		for i, l := range part {
			msgs[i] = &nats.Msg{Subject: o.bodies + token(l.Sender) + "." + token(l.Conversation), Data: l.Data}
		}
		stored, err := o.inbox.publish(o.inbox.ctx, msgs)
		if err != nil {
			err = o.failed(len(msgs), err)
		}
		for i, l := range part {
			if failed[l] = err; err == nil {
				sequences[l] = stored[i]
				o.inbox.metrics.bodies.Inc()
			}
		}
	}
	return sequences
}

// publish stores messages: a small number with a sync for each, and then it returns their
// sequences; more as one atomic batch.
func (b *Inbox) publish(ctx context.Context, msgs []*nats.Msg) (sequences []uint64, err error) {
	policy := backoff.WithContext(backoff.WithMaxRetries(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(time.Second)), publishTries-1), ctx)
	err = backoff.Retry(func() (err error) {
		// An attempt under way is not cut off: its outcome would not be known.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
		defer cancel()
		if len(msgs) < minBatch {
			sequences, err = b.publishEach(ctx, msgs)
			return err
		}
		for _, m := range msgs {
			m.Header = nats.Header{}
		}
		_, err = jetstreamext.PublishMsgBatch(ctx, b.js, msgs, jetstreamext.BatchFlowControl{})
		return err
	}, policy)
	return sequences, err
}

// publishEach has all messages under way at the same time.
func (b *Inbox) publishEach(ctx context.Context, msgs []*nats.Msg) ([]uint64, error) {
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, msg := range msgs {
		var err error
		if futures[i], err = b.js.PublishMsgAsync(&nats.Msg{Subject: msg.Subject, Data: msg.Data}, jetstream.WithRetryAttempts(0)); err != nil {
			return nil, err
		}
	}
	sequences := make([]uint64, len(msgs))
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			sequences[i] = ack.Sequence
		case err := <-f.Err():
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return sequences, nil
}
