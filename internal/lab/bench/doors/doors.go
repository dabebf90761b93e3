// Package doors measures the doors of a running server with single receipts: one a NATS request,
// one a line of an HTTP stream, one a request.
package doors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/ctl"
)

// Options say what is measured.
type Options struct {
	// Server has the app; its admin key is Key.
	Server *ctl.Client
	Key    string
	// NATS is the URL of the server's NATS door, with user and password.
	NATS string
	// Door is "nats", "stream", "http" or "floor".
	Door string
	// Clients are the connections, InFlight what each has unanswered at most.
	Clients, InFlight int
	// Rate is receipts a second in all; 0 = as many as go.
	Rate     float64
	Duration time.Duration
}

// Result is what was measured.
type Result struct {
	Door     string  `json:"door"`
	Clients  int     `json:"clients"`
	InFlight int     `json:"in_flight"`
	Receipts int64   `json:"receipts"`
	Rate     float64 `json:"receipts_per_s"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Max      float64 `json:"max_ms"`
	// CPU is processor time of the server a million receipts, in seconds.
	CPU float64 `json:"server_cpu_s_per_million"`
	// CountsChecked messages had the readers that were answered, and no others, and the replayed
	// state was the live one; anything else fails the run.
	CountsChecked int `json:"counts_checked"`
}

// Run measures one door.
func Run(ctx context.Context, o Options) (r Result, err error) {
	t := newTraffic(o.Clients)
	if o.Door != "floor" {
		if err := t.prepare(ctx, o.Server); err != nil {
			return r, err
		}
	}
	open := map[string]func(context.Context, Options, int) (door, error){
		"nats": openNATS, "stream": openStream, "http": openHTTP, "floor": openHTTP,
	}[o.Door]
	if open == nil {
		return r, fmt.Errorf("no door %q", o.Door)
	}
	if o.Door == "floor" {
		end, err := floor(&o)
		if err != nil {
			return r, err
		}
		defer end()
	}
	var clients []*client
	for i := range o.Clients {
		d, err := open(ctx, o, i)
		if err != nil {
			return r, err
		}
		defer d.close()
		clients = append(clients, &client{door: d, number: i, traffic: t})
	}
	cpu := func() float64 { return 0 }
	if o.Door != "floor" {
		cpu = func() float64 { return processorTime(ctx, o.Server) }
	}
	var group errgroup.Group
	before := cpu()
	begin := time.Now()
	for _, c := range clients {
		group.Go(func() error { return c.run(o, begin) })
	}
	if err := group.Wait(); err != nil {
		return r, err
	}
	took, used := time.Since(begin), cpu()-before
	var all []time.Duration
	for _, c := range clients {
		r.Receipts += c.answered
		all = append(all, c.took...)
	}
	slices.Sort(all)
	at := func(part float64) float64 { return float64(all[int(part*float64(len(all)-1))].Microseconds()) / 1000 }
	if len(all) == 0 {
		return r, errors.New("nothing was answered")
	}
	r.Door, r.Clients, r.InFlight = o.Door, o.Clients, o.InFlight
	r.Rate, r.P50, r.P99, r.P999, r.Max = float64(r.Receipts)/took.Seconds(), at(.5), at(.99), at(.999), at(1)
	r.CPU = used / float64(r.Receipts) * 1e6
	if o.Door != "floor" {
		r.CountsChecked, err = t.check(ctx, o.Server, clients)
	}
	return r, err
}

// processorTime is what the server has used so far, in seconds; 0 if it does not say.
func processorTime(ctx context.Context, server *ctl.Client) float64 {
	text, err := server.Stream(ctx, "GET", "/metrics", nil, nil)
	if err != nil {
		return 0
	}
	defer text.Close()
	for lines := bufio.NewScanner(text); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); ok {
			seconds, _ := strconv.ParseFloat(value, 64)
			return seconds
		}
	}
	return 0
}

// door takes receipts of one client and says how many were answered.
type door interface {
	// send sends a receipt; flush what was sent and may still be held.
	send(body []byte) error
	flush() error
	// answers waits for answers, and returns how many receipts they stand for.
	answers() (int, error)
	close()
}

// client sends and notes how long the answers took, which come in the order of what was sent.
type client struct {
	door     door
	number   int
	traffic  *traffic
	answered int64
	took     []time.Duration
}

func (c *client) run(o Options, begin time.Time) error {
	sent := make(chan time.Time, o.InFlight) // when each was sent, or should have been
	room := make(chan struct{}, o.InFlight)  // one for each that is not answered
	stop := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		defer close(sent)
		return c.sendAll(o, begin, sent, room, stop)
	})
	group.Go(func() error {
		defer close(stop)
		return c.takeAnswers(sent, room)
	})
	return group.Wait()
}

// sendAll sends until the time is over, each receipt once there is room for it. At a rate, the time
// of a receipt is that at which it was due, so that one that had to wait is as late as it was.
func (c *client) sendAll(o Options, begin time.Time, sent chan<- time.Time, room chan<- struct{}, stop <-chan struct{}) error {
	every := time.Duration(0)
	if o.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(o.Clients) / o.Rate)
	}
	due := begin.Add(every * time.Duration(c.number) / time.Duration(o.Clients))
	for n := 0; time.Since(begin) < o.Duration; n++ {
		if wait := time.Until(due); every > 0 && wait > 0 {
			if err := c.door.flush(); err != nil {
				return err
			}
			time.Sleep(wait)
		}
		select {
		case room <- struct{}{}:
		default:
			if err := c.door.flush(); err != nil {
				return err
			}
			select {
			case room <- struct{}{}:
			case <-stop:
				return nil
			}
		}
		if every == 0 {
			due = time.Now()
		}
		sent <- due
		due = due.Add(every)
		if err := c.door.send(c.traffic.body(c.number, n)); err != nil {
			return err
		}
	}
	return c.door.flush()
}

// takeAnswers takes the answers to all that was sent, which come in the order of sending.
func (c *client) takeAnswers(sent <-chan time.Time, room <-chan struct{}) error {
	for at := range sent {
		n, err := c.door.answers()
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range n {
			if i > 0 {
				at = <-sent
			}
			<-room
			c.took = append(c.took, now.Sub(at))
		}
		c.answered += int64(n)
	}
	return nil
}
