package client

import (
	"context"
	"errors"
	"sync"
)

var (
	// ErrClosed is for events that are handed over after Close.
	ErrClosed = errors.New("client: closed")
	// ErrUnanswered is for events that Close did not wait for: they may be stored or not.
	ErrUnanswered = errors.New("client: closed before the event was answered")
)

// Ticket is what becomes of an event that was handed to a [Batch] or a [Stream].
type Ticket struct {
	done     chan struct{}
	outcomes []Outcome
	err      error
}

// Done is closed when it is known.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Wait returns when the event is durable or, where that was asked for, decided, with its outcome:
// of a [MessageRead] with Messages one for each. An [*Error] is the server's refusal of this event.
func (t *Ticket) Wait(ctx context.Context) ([]Outcome, error) {
	select {
	case <-t.done:
		return t.outcomes, t.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// unansweredBytes bounds the memory of events that are not answered, beside their number. One
// event may always be there.
const unansweredBytes = 16 << 20

// queue is the events that are not answered, in the order in which they came. Many may add to it,
// one sender takes them.
type queue struct {
	client    *Client
	applied   bool // outcomes are wanted
	maxEvents int

	mu      sync.Mutex
	list    []*item
	first   int // how many have left the list before its first
	events  int // in the list
	bytes   int
	hurried int // items up to this, as first counts them, are not to wait for others
	closed  bool
	room    chan struct{} // closed when something has left; nil if nobody waits for that

	wake chan struct{} // has one when something may be new for the sender
	done chan struct{} // closed when the sender has ended
	stop context.CancelFunc
}

// item is an event that is not answered.
type item struct {
	line    []byte
	width   int // how many events the server makes of it
	ticket  *Ticket
	settled bool
}

// start makes a queue and runs its sender.
func (c *Client) start(applied bool, maxEvents int, run func(context.Context, *queue)) *queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &queue{client: c, applied: applied, maxEvents: maxEvents, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: stop}
	go func() {
		defer close(q.done)
		run(ctx, q)
	}()
	return q
}

// Add hands an event over. It waits while too many are not answered.
func (q *queue) Add(ctx context.Context, e Event) (*Ticket, error) {
	line, width, err := q.client.encode(e)
	if err != nil {
		return nil, err
	}
	x := &item{line: line, width: width, ticket: &Ticket{done: make(chan struct{})}}
	q.mu.Lock()
	for !q.closed && len(q.list) > 0 && (q.events+width > q.maxEvents || q.bytes+len(line) > unansweredBytes) {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	if q.closed {
		return nil, ErrClosed
	}
	q.list = append(q.list, x)
	q.events += width
	q.bytes += len(line)
	q.signal()
	return x.ticket, nil
}

// Flush has everything sent that was handed over, and waits until it is answered. Its error is that
// of the first event that was not taken, of those that it waited for; the others' tickets tell
// theirs.
func (q *queue) Flush(ctx context.Context) error {
	q.mu.Lock()
	var tickets []*Ticket
	for _, x := range q.list {
		tickets = append(tickets, x.ticket)
	}
	q.hurried = q.first + len(q.list)
	q.signal()
	q.mu.Unlock()
	var first error
	for _, t := range tickets {
		if _, err := t.Wait(ctx); err != nil && first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return first
}

// Close is the last Flush. When ctx ends before, what is not answered then fails with
// [ErrUnanswered]. It may be called again.
func (q *queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	q.mu.Unlock()
	err := q.Flush(ctx)
	if ctx.Err() != nil {
		q.stop()
	}
	<-q.done
	q.stop()
	q.fail(ErrUnanswered)
	return err
}

// signal tells the sender that something is new; the lock is held.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// settle answers an item.
func (q *queue) settle(x *item, outcomes []Outcome, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range outcomes {
		outcomes[i].Index = i
	}
	x.ticket.outcomes, x.ticket.err, x.settled = outcomes, err, true
	close(x.ticket.done)
	q.events -= x.width
	q.bytes -= len(x.line)
	for len(q.list) > 0 && q.list[0].settled {
		q.list[0] = nil
		q.list = q.list[1:]
		q.first++
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// fail answers everything that is there with an error.
func (q *queue) fail(err error) {
	q.mu.Lock()
	list := append([]*item(nil), q.list...)
	q.mu.Unlock()
	for _, x := range list {
		if !x.settled {
			q.settle(x, nil, err)
		}
	}
}

// some waits until there is an item, and reports whether there is: not if the queue is closed and
// empty, or ctx ended.
func (q *queue) some(ctx context.Context) bool {
	for {
		q.mu.Lock()
		n, closed := len(q.list), q.closed
		q.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return false
		case n > 0:
			return true
		case closed:
			return false
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}
