package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// life is the traffic of some clients over many starts of a server. Each sends one request after
// the other, and again what was not answered, unchanged.
type life struct {
	app     string
	clients []*sender
	traffic *sim.Traffic
	// dark: the power is off, so that no answer arrives any more.
	dark atomic.Bool
}

type sender struct {
	generator *sim.Generator
	random    *rand.Rand
	events    []events.Event
	body      []byte // not answered yet

	mu sync.Mutex
	// answered has the readers of every message, as far as the requests that name them were
	// answered; "" stands for the message itself.
	answered map[string]map[string]bool
	requests int
}

func newLife(seed uint64, clients int) (*life, error) {
	config := sim.DefaultConfig()
	config.Seed, config.Groups, config.Members = seed, 12, 12
	traffic, err := sim.New(config)
	if err != nil {
		return nil, err
	}
	generators, err := traffic.Generators(clients)
	if err != nil {
		return nil, err
	}
	l := &life{app: traffic.Apps()[0], traffic: traffic}
	for i, g := range generators {
		l.clients = append(l.clients, &sender{generator: g, random: rand.New(rand.NewPCG(seed, uint64(i))), answered: map[string]map[string]bool{}})
	}
	return l, nil
}

func appPath(app string) string { return "/v1/apps/" + strings.Replace(app, "#", "/", 1) }

func body(list []events.Event) (text []byte) {
	for i := range list {
		text = append(events.AppendJSON(text, &list[i]), '\n')
	}
	return text
}

// prepare makes the app and its groups.
func (l *life) prepare(ctx context.Context, s *server) error {
	if err := s.call(ctx, "PUT", appPath(l.app), l.traffic.Settings(), nil); err != nil {
		return err
	}
	_, err := s.ask(ctx, "POST", appPath(l.app)+"/events", body(l.traffic.Setup()))
	return err
}

// send has each client send n requests, or fewer if one fails.
func (l *life) send(ctx context.Context, s *server, n int) error {
	failed := make([]error, len(l.clients))
	var all sync.WaitGroup
	for i, c := range l.clients {
		all.Go(func() {
			for range n {
				if failed[i] = c.next(ctx, s, l); failed[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// sendUntil sends until a request of each client fails or the context ends.
func (l *life) sendUntil(ctx context.Context, s *server) {
	var all sync.WaitGroup
	for _, c := range l.clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if c.next(ctx, s, l) != nil {
					return
				}
				time.Sleep(time.Duration(c.random.IntN(10)) * time.Millisecond)
			}
		})
	}
	all.Wait()
}

func (c *sender) next(ctx context.Context, s *server, l *life) error {
	if len(c.body) == 0 {
		c.events = c.generator.Next(c.events[:0], 20+c.random.IntN(60))
		c.body = body(c.events)
	}
	return c.flush(ctx, s, l)
}

var errDark = errors.New("the power was off when the answer came")

// flush sends what is not answered yet.
func (c *sender) flush(ctx context.Context, s *server, l *life) error {
	if len(c.body) == 0 {
		return nil
	}
	if _, err := s.ask(ctx, "POST", appPath(l.app)+"/events", c.body); err != nil {
		return err
	}
	if l.dark.Load() {
		return errDark
	}
	c.body = c.body[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	for i := range c.events {
		e := &c.events[i]
		who := ""
		switch e.Kind {
		case events.MessageRead:
			who = e.User
		case events.MessageSent:
		default:
			continue
		}
		readers := c.answered[e.Message]
		if readers == nil {
			readers = map[string]bool{}
			c.answered[strings.Clone(e.Message)] = readers
		}
		readers[who] = true
	}
	return nil
}

// finish sends again what was not answered until it is.
func (l *life) finish(ctx context.Context, s *server) error {
	for _, c := range l.clients {
		var err error
		for range 50 {
			if err = c.flush(ctx, s, l); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("what was not answered is still refused: %w", err)
		}
	}
	return nil
}

// counts asks for the number of readers of messages; those that the server does not know are left
// out.
func (s *server) counts(ctx context.Context, app string, ids []string) (map[string]int, error) {
	got := map[string]int{}
	for part := range slices.Chunk(ids, 1000) {
		var answer struct {
			Counts map[string]struct{ Read int }
		}
		if err := s.call(ctx, "POST", appPath(app)+"/messages:counts", map[string][]string{"ids": part}, &answer); err != nil {
			return nil, err
		}
		for id, c := range answer.Counts {
			got[id] = c.Read
		}
	}
	return got, nil
}

// atLeast checks that the server has what was answered, while some requests were not.
func (l *life) atLeast(ctx context.Context, s *server) error {
	if err := s.caughtUp(ctx); err != nil {
		return err
	}
	least := map[string]int{}
	for _, c := range l.clients {
		for id, readers := range c.answered {
			if readers[""] {
				least[id] = len(readers) - 1
			}
		}
	}
	got, err := s.counts(ctx, l.app, slices.Collect(maps.Keys(least)))
	if err != nil {
		return err
	}
	for id, want := range least {
		if n, known := got[id]; !known || n < want {
			return fmt.Errorf("LOST: message %s: known %v, %d readers of %d that were answered", id, known, n, want)
		}
	}
	return nil
}

// exact checks every count against the books of the traffic. All requests must be answered.
func (l *life) exact(ctx context.Context, s *server) error {
	if err := s.caughtUp(ctx); err != nil {
		return err
	}
	want := map[string]int{}
	for _, c := range l.clients {
		c.generator.Expected(func(_, _, message string, readers int) { want[message] = readers })
	}
	got, err := s.counts(ctx, l.app, slices.Collect(maps.Keys(want)))
	if err != nil {
		return err
	}
	for id, readers := range want {
		if n, known := got[id]; !known || n != readers {
			return fmt.Errorf("WRONG: message %s: known %v, %d readers, want %d", id, known, n, readers)
		}
	}
	return nil
}

// survived checks a server that was started again after a fault: what was answered is there, what
// was not is taken, and then everything is as the books say and as the log says.
func (l *life) survived(ctx context.Context, s *server) error {
	err := l.atLeast(ctx, s)
	if err == nil {
		err = l.finish(ctx, s)
	}
	if err == nil {
		err = l.send(ctx, s, 1)
	}
	if err == nil {
		err = l.exact(ctx, s)
	}
	if err == nil {
		err = s.verify(ctx)
	}
	return err
}
