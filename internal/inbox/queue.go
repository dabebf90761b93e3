package inbox

import (
	"context"
	"slices"
	"sync"
)

const (
	// What may wait to be stored, by what it takes on the disk: of a sender, of an app, of all. One
	// message of a sender of whom nothing waits may be as large as an app's share; an app of which
	// nothing waits is not held up by others.
	maxQueuedOfSender = 8 << 20
	maxQueuedOfApp    = 32 << 20
	maxQueuedBytes    = 64 << 20
)

// queuedMessage is a message on its way to the inboxes of its recipients.
type queuedMessage struct {
	Message
	cost   int
	ticket *Ticket
}

// Ticket is one Append under way.
type Ticket struct {
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

func (t *Ticket) finish(err error) {
	t.err = err
	close(t.done)
}

// queue holds the messages of one app that wait. Its senders take turns, so that nobody waits for
// what another one sends by the thousand.
type queue struct {
	mu      sync.Mutex
	senders map[string]*senderQueue
	turns   []*senderQueue // those with messages, the next one first
	bytes   int
	closed  bool
	wake    chan struct{}
}

// senderQueue is the messages of one sender, in order. bytes counts those that are being stored,
// too.
type senderQueue struct {
	messages []*queuedMessage
	bytes    int
}

func (q *queue) init() { q.senders, q.wake = make(map[string]*senderQueue), make(chan struct{}, 1) }

// put queues a message, or says why not.
func (q *queue) put(l *queuedMessage) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.senders[l.Sender]
	switch {
	case q.closed:
		return errClosed
	case l.cost > maxQueuedOfApp:
		return ErrTooLarge
	case q.bytes > 0 && q.bytes+l.cost > maxQueuedOfApp, of != nil && of.bytes+l.cost > maxQueuedOfSender:
		return ErrOverloaded
	}
	if of == nil {
		of = new(senderQueue)
		q.senders[l.Sender] = of
	}
	if len(of.messages) == 0 {
		q.turns = append(q.turns, of)
	}
	of.messages = append(of.messages, l)
	of.bytes += l.cost
	q.bytes += l.cost
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take takes messages off the queue, one of each sender in turn, as many as are stored together.
func (q *queue) take() (list []*queuedMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages, bytes := 0, 0
	for len(q.turns) > 0 {
		of := q.turns[0]
		l := of.messages[0]
		if n := len(l.Users); len(list) > 0 && (messages+n > maxBatch || bytes+l.cost > maxBatchBytes) {
			break
		}
		messages, bytes = messages+len(l.Users), bytes+l.cost
		list = append(list, l)
		q.turns = slices.Delete(q.turns, 0, 1)
		if of.messages = of.messages[1:]; len(of.messages) == 0 {
			of.messages = nil
		} else {
			q.turns = append(q.turns, of)
		}
	}
	return list
}

// stored gives back the room of messages that were taken.
func (q *queue) stored(list []*queuedMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range list {
		q.bytes -= l.cost
		of := q.senders[l.Sender]
		if of.bytes -= l.cost; of.bytes == 0 {
			delete(q.senders, l.Sender)
		}
	}
}

// idle reports whether nothing waits.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes == 0
}

// close refuses further messages.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
