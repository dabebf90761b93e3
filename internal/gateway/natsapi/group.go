package natsapi

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// group is the requests of an app that are submitted together.
type group struct {
	app      string
	requests []request
	events   []events.Event
	weighs   admission.Gathered
	answer   []byte // memory of answers
}

// appQueue is the requests of an app, in order. What it waits for keeps no other app waiting.
type appQueue struct {
	app        string
	gathering  []*group   // of the door's, as is workers; never none, and all but the last are full
	workers    int        // each with a group that is submitted and not answered
	submitting sync.Mutex // held while a group is taken and submitted, so that groups stay in order
}

// gather puts the request that was decoded into the next group of its app.
func (x *receiver) gather(q *request, weighs admission.Gathered) error {
	d := x.Door
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return ingest.Unavailable
	}
	l := d.queueOf(x.app.key)
	g := l.gathering[len(l.gathering)-1]
	if n := len(g.events); n > 0 && n+len(x.decoded) > groupEvents {
		g = d.group(l.app)
		l.gathering = append(l.gathering, g)
	}
	g.requests = append(g.requests, *q)
	g.events = append(g.events, x.decoded...)
	g.weighs.Add(weighs)
	// If there are more, somebody comes for them.
	if len(g.requests) == 1 && l.workers < groups {
		l.workers++
		d.workers.Go(func() { d.work(l) })
	}
	return nil
}

// queueOf returns that of an app. d.mu is held.
func (d *Door) queueOf(app string) *appQueue {
	l := d.queues[app]
	if l == nil {
		l = &appQueue{app: app, gathering: []*group{d.group(app)}}
		d.queues[app] = l
	}
	return l
}

// group returns an empty one. d.mu is held.
func (d *Door) group(app string) *group {
	g := new(group)
	if n := len(d.spare); n > 0 {
		g, d.spare = d.spare[n-1], d.spare[:n-1]
	}
	g.app = app
	return g
}

// work submits groups of an app and answers them, one after the other, until nothing more has come.
func (d *Door) work(l *appQueue) {
	for {
		// What else has come is to be in the group: its requests are looked at first.
		runtime.Gosched()
		g, ticket, err := d.submit(l)
		if g == nil {
			return
		}
		d.settle(g, ticket, err)
	}
}

// submit hands what has gathered to the log. The group is nil if there is nothing, and the queue
// has a worker less.
func (d *Door) submit(l *appQueue) (*group, *eventlog.Ticket, error) {
	l.submitting.Lock()
	defer l.submitting.Unlock()
	g := d.next(l)
	if g == nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(d.stopping, d.cfg.Limits.Submit)
	defer cancel()
	ticket, err := d.cfg.Log.Submit(ctx, g.events)
	clear(g.events) // the log has them, and they hold on to the bodies
	d.cfg.Gate.Submitted(d.who(g.app), g.weighs, err == nil, int64(len(g.requests))*requestBytes)
	return g, ticket, err
}

// next takes what has gathered, or ends the worker and, with the last one, the queue.
func (d *Door) next(l *appQueue) *group {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := l.gathering[0]
	if len(l.gathering) > 1 {
		l.gathering = slices.Delete(l.gathering, 0, 1)
		return g
	}
	if len(g.requests) > 0 {
		l.gathering[0] = d.group(l.app)
		return g
	}
	if l.workers--; l.workers == 0 {
		delete(d.queues, l.app)
		d.keep(g)
	}
	return nil
}

// reason is why a request is refused whose group the log did not take.
func (d *Door) reason(err error, app string, q *request) *ingest.Refusal {
	if errors.Is(err, eventlog.ErrOverloaded) {
		err = d.cfg.Gate.Refused(d.who(app), q.size)
	}
	return ingest.RefusalOf(err)
}

const (
	// maxSpareEvents bounds the memory that an unusually large group leaves behind, and maxSpare
	// how many do.
	maxSpareEvents = 16 << 10
	maxSpare       = 2 * groups
)

// recycle keeps the memory of a group that is answered.
func (d *Door) recycle(g *group) {
	if cap(g.events) > maxSpareEvents || cap(g.answer) > ingest.SmallAnswer*maxSpareEvents {
		return
	}
	clear(g.requests)
	g.requests, g.events, g.weighs = g.requests[:0], g.events[:0], admission.Gathered{}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep(g)
}

// keep has an empty group used again. d.mu is held.
func (d *Door) keep(g *group) {
	if len(d.spare) < maxSpare {
		d.spare = append(d.spare, g)
	}
}
