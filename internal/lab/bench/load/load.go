// Package load pours the traffic of package sim into a system, on a schedule or as fast as the
// system takes it, and compares the system's counts with what the traffic must lead to. All that
// measure a log or a state are loaded by it: receiptd, its nodes and what it is compared with.
// What loads a server through its doors keeps time by itself, since how the door's clients behave
// is what is measured: packages doors, overload and clients, and the day that package day pours.
package load

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Streams is how many streams the traffic has, whatever the system: its connections share them. The
// events of a conversation are all in one stream, so no two connections meet at a message.
const Streams = 64

// System is what is loaded.
type System interface {
	// Load stores events and returns when they are as durable as the system makes them, and
	// counted. It is called from many goroutines.
	Load(ctx context.Context, evs []events.Event) error
	// Counts returns how many users have read each of at most CountsAtOnce messages. A message
	// without readers may be missing.
	Counts(ctx context.Context, app string, messages []string) (map[string]int, error)
}

// CountsAtOnce is the most messages of one call of Counts: the limit of receiptd's API.
const CountsAtOnce = 1000

// pipeliner is a system that takes a request before it has answered those before.
type pipeliner interface {
	System
	// Submit hands events over, which may be overwritten when it returns. They are stored when
	// the ticket says so.
	Submit(ctx context.Context, evs []events.Event) (Ticket, error)
}

// Ticket stands for a request that was submitted.
type Ticket interface {
	// Wait returns when the events of the request are what those of [System] are after Load.
	Wait(ctx context.Context) error
}

// Load is the traffic of a system under way.
type Load struct {
	System System
	// Connections load at the same time, each with requests of Batch events.
	Connections, Batch int
	// UnderWay is 0 for requests one after the other. Otherwise the system is a pipeliner, and
	// a connection waits for its oldest request when so many are under way; on a schedule it
	// waits for none.
	UnderWay int
	Streams  []*sim.Generator
}

// Done is what a phase loaded, and how long it took until the last of it was answered.
type Done struct {
	Events, Receipts int
	Took             time.Duration
}

// Rate is how many receipts were answered in a second.
func (d Done) Rate() float64 { return float64(d.Receipts) / d.Took.Seconds() }

// Phase loads at a rate of events a second, 0 for as fast as the system takes them, and waits for
// the end of every request. The latencies of requests are added to latencies, if that is not nil:
// on a schedule from the moment at which a request was due.
func (x *Load) Phase(ctx context.Context, duration time.Duration, rate float64, latencies *measure.Samples) (Done, error) {
	before, start := x.Totals(), time.Now()
	connections := min(x.Connections, len(x.Streams))
	var every time.Duration
	if rate > 0 {
		every = time.Duration(float64(connections*x.Batch) / rate * float64(time.Second))
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range connections {
		c := connection{load: x, every: every, deadline: start.Add(duration), latencies: latencies}
		c.due = start.Add(every * time.Duration(i) / time.Duration(connections)) // they take turns
		for stream := i; stream < len(x.Streams); stream += connections {
			c.streams = append(c.streams, x.Streams[stream])
		}
		group.Go(func() error { return c.run(ctx) })
	}
	if err := group.Wait(); err != nil {
		return Done{}, err
	}
	after := x.Totals()
	return Done{after.Events - before.Events, after.Receipts - before.Receipts, time.Since(start)}, nil
}

// connection makes requests from its streams in turn, until the deadline.
type connection struct {
	load      *Load
	streams   []*sim.Generator
	every     time.Duration // between requests; 0 for no schedule
	due       time.Time     // when the next request is, with a schedule
	deadline  time.Time
	latencies *measure.Samples

	underWay []underWay      // without a schedule, oldest first
	waiting  *errgroup.Group // for what is under way on a schedule
}

// underWay is a request that was submitted.
type underWay struct {
	ticket Ticket
	due    time.Time
}

func (c *connection) run(ctx context.Context) error {
	c.waiting, ctx = errgroup.WithContext(ctx)
	if err := c.requests(ctx); err != nil {
		return err
	}
	for _, r := range c.underWay {
		if err := c.wait(ctx, r); err != nil {
			return err
		}
	}
	return c.waiting.Wait()
}

func (c *connection) requests(ctx context.Context) error {
	var pipelined pipeliner
	if c.load.UnderWay > 0 {
		pipelined = c.load.System.(pipeliner)
	}
	buf := make([]events.Event, 0, c.load.Batch)
	for stream := 0; ; stream = (stream + 1) % len(c.streams) {
		if c.every == 0 {
			c.due = time.Now()
		}
		if !c.due.Before(c.deadline) {
			if c.every > 0 { // at a low rate the next request may be due long after the phase
				time.Sleep(time.Until(c.deadline))
			}
			return nil
		}
		time.Sleep(time.Until(c.due))
		if ctx.Err() != nil {
			return c.ended(ctx)
		}
		buf = c.streams[stream].Next(buf[:0], c.load.Batch)
		var err error
		if pipelined != nil {
			err = c.submit(ctx, pipelined, buf)
		} else if err = c.load.System.Load(ctx, buf); err == nil {
			c.note(c.due)
		}
		if err != nil {
			return err
		}
		c.due = c.due.Add(c.every)
	}
}

// ended is the error of a request that was waited for, if there is one, or that of the context.
func (c *connection) ended(ctx context.Context) error {
	if err := c.waiting.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// submit submits a request. Without a schedule it waits for the oldest one if too many are under
// way.
func (c *connection) submit(ctx context.Context, system pipeliner, evs []events.Event) error {
	ticket, err := system.Submit(ctx, evs)
	if err != nil {
		return err
	}
	r := underWay{ticket, c.due}
	if c.every > 0 {
		c.waiting.Go(func() error { return c.wait(ctx, r) })
		return nil
	}
	if len(c.underWay) == c.load.UnderWay {
		if err := c.wait(ctx, c.underWay[0]); err != nil {
			return err
		}
		c.underWay = append(c.underWay[:0], c.underWay[1:]...)
	}
	c.underWay = append(c.underWay, r)
	return nil
}

func (c *connection) wait(ctx context.Context, r underWay) error {
	err := r.ticket.Wait(ctx)
	if err == nil {
		c.note(r.due)
	}
	return err
}

func (c *connection) note(due time.Time) {
	if c.latencies != nil {
		c.latencies.Add(time.Since(due))
	}
}

// Totals adds up what the streams have made.
func (x *Load) Totals() sim.Totals {
	var t sim.Totals
	for _, g := range x.Streams {
		t.Add(g.Totals())
	}
	return t
}

// Reads are the messages of an app, and how often they were read in all.
type Reads struct{ Messages, Read int }

// Reads returns what the traffic must lead to, by app.
func (x *Load) Reads() map[string]Reads {
	all := map[string]Reads{}
	for _, g := range x.Streams {
		g.Expected(func(app, _, _ string, readers int) {
			r := all[app]
			all[app] = Reads{r.Messages + 1, r.Read + readers}
		})
	}
	return all
}

// Check compares the count of every nth message with what the traffic leads to, and returns how
// many it compared. Wrong counts are an error that says how many there are, and names one.
func (x *Load) Check(ctx context.Context, nth int) (checked int, err error) {
	c := check{system: x.System, want: map[string]int{}}
	i := 0
	for _, g := range x.Streams {
		g.Expected(func(app, _, message string, readers int) {
			if i++; i%nth != 0 || err != nil {
				return
			}
			if app != c.app || len(c.want) == CountsAtOnce {
				err = c.ask(ctx)
			}
			c.app = app
			c.want[message] = readers
		})
	}
	if err == nil {
		err = c.ask(ctx)
	}
	if err == nil && c.wrong > 0 {
		err = fmt.Errorf("%d of %d counts are wrong, for example: %s", c.wrong, c.checked, c.example)
	}
	return c.checked, err
}

// check is a comparison under way.
type check struct {
	system  System
	app     string
	want    map[string]int // readers by message, of the app, not asked for yet
	checked int
	wrong   int
	example string
}

// ask compares what has been gathered.
func (c *check) ask(ctx context.Context) error {
	if len(c.want) == 0 {
		return nil
	}
	ids := make([]string, 0, len(c.want))
	for id := range c.want {
		ids = append(ids, id)
	}
	counts, err := c.system.Counts(ctx, c.app, ids)
	if err != nil {
		return err
	}
	for id, readers := range c.want {
		if counts[id] != readers {
			c.wrong++
			c.example = fmt.Sprintf("message %s of %s has %d readers, not %d", id, c.app, counts[id], readers)
		}
	}
	c.checked += len(c.want)
	clear(c.want)
	return nil
}
