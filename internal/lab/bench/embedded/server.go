// Package embedded runs receiptd inside the process of a benchmark, as a Go program that embeds it
// would.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/runtime"
)

// setupAtOnce is how many of the events that create groups are stored together.
const setupAtOnce = 100

// Server is receiptd in this process, running.
type Server struct {
	*runtime.Server

	stop  context.CancelFunc // nil once it has been stopped
	ended chan error         // what Run returned
}

// Start opens log and state and runs the server until [Server.Stop]. The context bounds the start
// only.
func Start(ctx context.Context, cfg config.Config, logger *slog.Logger) (*Server, error) {
	built, err := runtime.Build(ctx, cfg, logger, "bench")
	if err != nil {
		return nil, err
	}
	s := &Server{Server: built, ended: make(chan error, 1)}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.ended <- built.Run(running) }()
	return s, nil
}

// Prepare creates the apps and groups of the traffic.
func (s *Server) Prepare(ctx context.Context, traffic *sim.Traffic) error {
	for _, app := range traffic.Apps() {
		if _, err := s.Configure(ctx, app, traffic.Settings()); err != nil {
			return err
		}
	}
	for evs := range slices.Chunk(traffic.Setup(), setupAtOnce) {
		if err := s.Load(ctx, evs); err != nil {
			return err
		}
	}
	return nil
}

// Load implements [load.System]: the events can be queried when it returns.
func (s *Server) Load(ctx context.Context, evs []events.Event) error {
	t, err := s.Submit(ctx, evs)
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

// Submit implements [load.Pipelined].
func (s *Server) Submit(ctx context.Context, evs []events.Event) (load.Ticket, error) {
	t, err := s.Log.Submit(ctx, evs)
	if err != nil {
		return nil, err
	}
	return visible{t, s}, nil
}

// visible is a ticket that waits until all events of a submit are folded and can be queried.
type visible struct {
	stored *eventlog.Ticket
	server *Server
}

// Wait implements [load.Ticket].
func (v visible) Wait(ctx context.Context) error {
	if err := v.stored.Wait(ctx); err != nil {
		return err
	}
	for _, p := range v.stored.Positions() {
		if err := v.server.Projector.WaitFor(ctx, p.Partition, p.Sequence); err != nil {
			return err
		}
	}
	return nil
}

// CaughtUp waits until everything that is in the log is folded.
func (s *Server) CaughtUp(ctx context.Context) error {
	for k := range s.Log.Partitions() {
		_, last, err := s.Log.Bounds(ctx, k)
		if err != nil {
			return err
		}
		if err := s.Projector.WaitFor(ctx, k, last); err != nil {
			return err
		}
	}
	return nil
}

// Counts implements [load.System]. An unknown message is an error.
func (s *Server) Counts(_ context.Context, app string, messages []string) (map[string]int, error) {
	answer, err := s.Projector.Counts(app, messages)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for _, id := range messages {
		c, known := answer[id]
		if !known {
			return nil, fmt.Errorf("message %s of %s is not known", id, app)
		}
		counts[id] = c.Read
	}
	return counts, nil
}

// Stop drains the server and closes log and state. It may be called again.
func (s *Server) Stop() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	return errors.Join(<-s.ended, s.Close(context.Background()))
}

// Durable is a server whose tickets wait only until the log has synced the events, not until they
// are folded.
type Durable struct{ *Server }

// Submit implements [load.Pipelined].
func (d Durable) Submit(ctx context.Context, evs []events.Event) (load.Ticket, error) {
	t, err := d.Log.Submit(ctx, evs)
	if err != nil {
		return nil, err
	}
	return t, nil
}
