package peers

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/bench/measure"
	"github.com/receiptd/receiptd/internal/sim"
)

// streams is how many streams the traffic has, for every system: its connections share them. The events of a
// conversation are all in one stream, so no two connections meet at a message.
const streams = 64

// load is the traffic of a system under way.
type load struct {
	peer    Peer
	system  *System
	streams []*sim.Generator
}

// phase loads at a rate of events a second, 0 for as fast as the system takes them, and waits for the end of every
// request. It returns what was loaded and how long it took until the last of it was counted.
func (x *load) phase(ctx context.Context, duration time.Duration, rate float64, all *measure.Samples) (evs, receipts int, took time.Duration, err error) {
	before, start := x.totals(), time.Now()
	deadline := start.Add(duration)
	connections := min(x.system.Connections, len(x.streams))
	var every time.Duration
	if rate > 0 {
		every = time.Duration(float64(connections*x.system.Batch) / rate * float64(time.Second))
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range connections {
		first := start.Add(every * time.Duration(i) / time.Duration(connections)) // they take turns
		group.Go(func() error { return x.connection(ctx, i, connections, first, every, deadline, all) })
	}
	if err := group.Wait(); err != nil {
		return 0, 0, 0, err
	}
	after := x.totals()
	return after.Events - before.Events, after.Receipts - before.Receipts, time.Since(start), nil
}

// connection loads every of-th stream, beginning with the first-th, a request from each in turn. With a schedule
// (every is not 0) latencies count from the moment at which a request is due.
func (x *load) connection(ctx context.Context, first, of int, due time.Time, every time.Duration, deadline time.Time, all *measure.Samples) error {
	buf := make([]events.Event, 0, x.system.Batch)
	for stream := first; ; stream += of {
		if stream >= len(x.streams) {
			stream = first
		}
		if every > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		if !due.Before(deadline) {
			return nil
		}
		buf = x.streams[stream].Next(buf[:0], x.system.Batch)
		if err := x.peer.Load(ctx, buf); err != nil {
			return err
		}
		all.Add(time.Since(due))
		due = due.Add(every)
	}
}

// totals adds up what the streams have made.
func (x *load) totals() sim.Totals {
	var t sim.Totals
	for _, g := range x.streams {
		t.Add(g.Totals())
	}
	return t
}

// check compares the count of every message with what the traffic leads to, and returns how many it compared.
func (x *load) check(ctx context.Context) (checked int, err error) {
	want := map[string]int{}
	var app string
	ask := func() error {
		ids := make([]string, 0, len(want))
		for id := range want {
			ids = append(ids, id)
		}
		counts, err := x.peer.Counts(ctx, app, ids)
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
	for _, g := range x.streams {
		g.Expected(func(a, _, message string, readers int) {
			if err == nil && len(want) > 0 && (a != app || len(want) == countsAtOnce) {
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
