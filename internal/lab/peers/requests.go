package main

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// requesting is receiptd as a process of its own, to which each event is a request over NATS. The
// events of a conversation are all on one connection.
type requesting struct {
	remote
	seed        maphash.Seed
	connections []*requests
}

// natsConnections is how many connections the requests share.
const natsConnections = 16

// Start connects.
func (r *requesting) Start(ctx context.Context, dir string, traffic *sim.Traffic) error {
	if err := r.remote.Start(ctx, dir, traffic); err != nil {
		return err
	}
	r.seed = maphash.MakeSeed()
	for range natsConnections {
		c, err := newRequests(r.NATS())
		if err != nil {
			return err
		}
		r.connections = append(r.connections, c)
	}
	return nil
}

// Submit implements [load.Pipelined]. The events are one.
func (r *requesting) Submit(_ context.Context, evs []events.Event) (load.Ticket, error) {
	c := r.connections[maphash.String(r.seed, conversation(&evs[0]))%uint64(len(r.connections))]
	return c.send(&evs[0])
}

// Stop closes the connections, and then ends the server.
func (r *requesting) Stop() error {
	for _, c := range r.connections {
		c.nc.Close()
	}
	r.connections = nil
	return r.remote.Stop()
}

// requests is a connection with any number of requests under way, as nats.go has for requests that
// are waited for where they are made.
type requests struct {
	nc    *nats.Conn
	inbox string // with a dot at its end

	mu      sync.Mutex
	last    int
	waiting map[string]answered // by the end of the inbox
}

func newRequests(url string) (*requests, error) {
	nc, err := nats.Connect(url, nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	c := &requests{nc: nc, inbox: nc.NewInbox() + ".", waiting: map[string]answered{}}
	if _, err := nc.Subscribe(c.inbox+"*", c.answer); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *requests) send(e *events.Event) (load.Ticket, error) {
	subject, err := events.SubmitSubject(e.App)
	if err != nil {
		return nil, err
	}
	done := make(answered, 1)
	c.mu.Lock()
	c.last++
	id := strconv.Itoa(c.last)
	c.waiting[id] = done
	c.mu.Unlock()
	m := nats.NewMsg(subject)
	m.Reply, m.Data = c.inbox+id, events.AppendJSON(nil, e)
	m.Header.Set("Receiptd-Wait", "applied")
	return done, c.nc.PublishMsg(m)
}

func (c *requests) answer(m *nats.Msg) {
	id := m.Subject[len(c.inbox):]
	c.mu.Lock()
	done := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		done <- errors.New(text)
		return
	}
	done <- nil
}
