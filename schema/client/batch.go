package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"
)

// BatchOptions are how many events go into a request.
type BatchOptions struct {
	// Applied has tickets wait for what was decided about their events, and tell it.
	Applied bool
	// Events is how many a request has at most; 0 = 1000.
	Events int
	// Delay is how long the first event of a request waits for others; 0 = 10 ms. While a request
	// is under way, the next one gathers whatever comes.
	Delay time.Duration
	// Unanswered bounds the events that were handed over and are not answered; 0 = ten requests.
	// 16 MiB bound them too.
	Unanswered int
}

// batchBytes bounds a request, beside the number of its events.
const batchBytes = 4 << 20

// Batch gathers events and sends many in a request, one request after the other, so that events
// keep their order. It may be used concurrently. Close it, or what was handed over last may not be
// sent.
type Batch struct {
	*queue
	events int
	delay  time.Duration
}

// Batch returns a batch.
func (c *Client) Batch(o BatchOptions) *Batch {
	b := &Batch{events: cmp.Or(o.Events, 1000), delay: cmp.Or(o.Delay, 10*time.Millisecond)}
	b.queue = c.start(o.Applied, cmp.Or(o.Unanswered, 10*b.events), b.run)
	return b
}

func (b *Batch) run(ctx context.Context, q *queue) {
	for {
		list := b.take(ctx, q)
		if len(list) == 0 {
			return
		}
		b.send(ctx, q, list)
	}
}

// take waits for the events of a request; there are none when the batch is closed.
func (b *Batch) take(ctx context.Context, q *queue) []*item {
	if !q.some(ctx) {
		return nil
	}
	delay := time.NewTimer(b.delay)
	defer delay.Stop()
	for late := false; ; {
		q.mu.Lock()
		n, events, size := 0, 0, 0
		for n < len(q.list) {
			x := q.list[n]
			if n > 0 && (events+x.width > b.events || size+len(x.line) > batchBytes) {
				late = true // nothing more fits
				break
			}
			n, events, size = n+1, events+x.width, size+len(x.line)
		}
		if late || events >= b.events || q.closed || q.hurried > q.first {
			list := append([]*item(nil), q.list[:n]...)
			q.mu.Unlock()
			return list
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-delay.C:
			late = true
		case <-ctx.Done():
			return nil
		}
	}
}

// send sends items until each is answered. One that is malformed fails alone.
func (b *Batch) send(ctx context.Context, q *queue, list []*item) {
	for len(list) > 0 {
		var body bytes.Buffer
		for _, x := range list {
			body.Write(x.line)
		}
		a, err := q.client.post(ctx, q.client.eventsPath(""), body.Bytes(), q.applied)
		e, refused := errors.AsType[*Error](err)
		switch {
		case err == nil:
			for _, x := range list {
				n := min(x.width, len(a.Outcomes))
				q.settle(x, a.Outcomes[:n:n], nil)
				a.Outcomes = a.Outcomes[n:]
			}
			return
		case refused && e.Status == http.StatusBadRequest && e.Index >= 0 && e.Index < len(list):
			q.settle(list[e.Index], nil, e.at(0))
			list = append(list[:e.Index], list[e.Index+1:]...)
		case refused && e.Status == http.StatusRequestEntityTooLarge && len(list) > 1:
			b.send(ctx, q, list[:len(list)/2])
			list = list[len(list)/2:]
		case ctx.Err() != nil:
			return // Close answers
		default:
			for _, x := range list {
				q.settle(x, nil, err)
			}
			return
		}
	}
}
