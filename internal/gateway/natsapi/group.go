package natsapi

import (
	"context"
	"runtime"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// group is the requests that are submitted together.
type group struct {
	requests []request
	events   []events.Event
	answer   []byte // memory of answers
}

// gather puts the request that was decoded into the next group.
func (d *Door) gather(q *request) {
	d.mu.Lock()
	g := d.gathering
	g.requests = append(g.requests, *q)
	g.events = append(g.events, d.decoded...)
	d.mu.Unlock()
	clear(d.decoded) // they hold on to the body
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// work submits groups and answers them, one after the other, until no more requests come.
func (d *Door) work() {
	for {
		select {
		case <-d.wake:
		case <-d.drained:
			g, ticket, err := d.submit()
			if g == nil {
				return
			}
			d.settle(g, ticket, err)
			continue
		}
		// What else has come is to be in the group: its requests are looked at first.
		runtime.Gosched()
		if g, ticket, err := d.submit(); g != nil {
			d.settle(g, ticket, err)
		}
	}
}

// submit hands what has gathered to the log; the group is nil if there is nothing.
func (d *Door) submit() (*group, *eventlog.Ticket, error) {
	d.submitting.Lock()
	defer d.submitting.Unlock()
	d.mu.Lock()
	g := d.gathering
	if len(g.requests) == 0 {
		d.mu.Unlock()
		return nil, nil, nil
	}
	d.gathering = new(group)
	if n := len(d.spare); n > 0 {
		d.gathering, d.spare = d.spare[n-1], d.spare[:n-1]
	}
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(d.stopping, d.cfg.Limits.Submit)
	defer cancel()
	ticket, err := d.cfg.Log.Submit(ctx, g.events)
	return g, ticket, err
}

// maxSpareEvents bounds the memory that an unusually large group leaves behind.
const maxSpareEvents = 16 << 10

// recycle keeps the memory of a group that is answered.
func (d *Door) recycle(g *group) {
	if cap(g.events) > maxSpareEvents || cap(g.answer) > ingest.SmallAnswer*maxSpareEvents {
		return
	}
	clear(g.requests)
	g.requests, g.events = g.requests[:0], g.events[:0]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare = append(d.spare, g)
}
