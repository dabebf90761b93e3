// Package load pours the traffic of package sim into a system, on a schedule or as fast as it takes it, and compares the
// system's counts with what the traffic must lead to.
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

// Streams is how many streams the traffic has, whatever the system: its connections share them. The events of a
// conversation are all in one stream, so no two connections meet at a message.
const Streams = 64

// System is what is loaded.
type System interface {
	// Load stores events and returns when they are as durable as the system makes them, and counted. It is called from many
	// goroutines.
	Load(ctx context.Context, evs []events.Event) error
	// Counts returns how many users have read each of at most CountsAtOnce messages. A message without readers may be
	// missing.
	Counts(ctx context.Context, app string, messages []string) (map[string]int, error)
}

// CountsAtOnce is the most messages of one call of Counts: the limit of receiptd's API.
const CountsAtOnce = 1000

// Load is the traffic of a system under way.
type Load struct {
	System System
	// Connections load at the same time, each with requests of Batch events, one after the other.
	Connections, Batch int
	Streams            []*sim.Generator
}

// Done is what a phase loaded, and how long it took until the last of it was counted.
type Done struct {
	Events, Receipts int
	Took             time.Duration
}

// Rate is how many receipts were counted in a second.
func (d Done) Rate() float64 { return float64(d.Receipts) / d.Took.Seconds() }

// Phase loads at a rate of events a second, 0 for as fast as the system takes them, and waits for the end of every
// request. The latencies of requests are added to all.
func (x *Load) Phase(ctx context.Context, duration time.Duration, rate float64, all *measure.Samples) (Done, error) {
	before, start := x.Totals(), time.Now()
	deadline := start.Add(duration)
	connections := min(x.Connections, len(x.Streams))
	var every time.Duration
	if rate > 0 {
		every = time.Duration(float64(connections*x.Batch) / rate * float64(time.Second))
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range connections {
		first := start.Add(every * time.Duration(i) / time.Duration(connections)) // they take turns
		group.Go(func() error { return x.connection(ctx, i, connections, first, every, deadline, all) })
	}
	if err := group.Wait(); err != nil {
		return Done{}, err
	}
	after := x.Totals()
	return Done{after.Events - before.Events, after.Receipts - before.Receipts, time.Since(start)}, nil
}

// connection loads every of-th stream, beginning with the first-th, a request from each in turn. With a schedule
// (every is not 0) latencies count from the moment at which a request is due.
func (x *Load) connection(ctx context.Context, first, of int, due time.Time, every time.Duration, deadline time.Time, all *measure.Samples) error {
	buf := make([]events.Event, 0, x.Batch)
	for stream := first; ; stream += of {
		if stream >= len(x.Streams) {
			stream = first
		}
		if every > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		if !due.Before(deadline) || ctx.Err() != nil {
			return ctx.Err()
		}
		buf = x.Streams[stream].Next(buf[:0], x.Batch)
		if err := x.System.Load(ctx, buf); err != nil {
			return err
		}
		all.Add(time.Since(due))
		due = due.Add(every)
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

// Check compares the count of every nth message with what the traffic leads to, and returns how many it compared.
func (x *Load) Check(ctx context.Context, nth int) (checked int, err error) {
	want := map[string]int{}
	var app string
	ask := func() error {
		ids := make([]string, 0, len(want))
		for id := range want {
			ids = append(ids, id)
		}
		counts, err := x.System.Counts(ctx, app, ids)
		if err != nil {
			return err
		}
		for id, readers := range want {
			if counts[id] != readers {
				return fmt.Errorf("message %s of %s has %d readers, not %d", id, app, counts[id], readers)
			}
		}
		checked += len(want)
		clear(want)
		return nil
	}
	i := 0
	for _, g := range x.Streams {
		g.Expected(func(a, _, message string, readers int) {
			if i++; i%nth != 0 || err != nil {
				return
			}
			if len(want) > 0 && (a != app || len(want) == CountsAtOnce) {
				err = ask()
			}
			app = a
			want[message] = readers
		})
	}
	if err == nil && len(want) > 0 {
		err = ask()
	}
	return checked, err
}
