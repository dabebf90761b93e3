package runtime

import (
	"context"
	"fmt"
	"sync"

	"github.com/receiptd/receiptd/internal/gateway/natsapi"
)

// requests is the door for NATS clients that send requests.
type requests struct {
	mu     sync.Mutex
	door   *natsapi.Door // nil before it is opened, and where nobody is let in
	closed bool
}

// openRequests opens it, once the state has all that the log held at the start: an app that exists
// must not look unknown.
func (s *Server) openRequests(ctx context.Context) error {
	conns, err := s.Log.ConnectRequests(ctx, "receiptd requests")
	if err != nil || len(conns) == 0 {
		return err
	}
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	if s.requests.closed {
		for _, nc := range conns {
			nc.Close()
		}
		return nil
	}
	s.requests.door, err = natsapi.New(natsapi.Config{
		Conns: conns, Log: s.Log, State: s.state(), Gate: s.intake, Registerer: s.registry, Logger: s.edgeLog,
		Limits: natsapi.Limits{BodyBytes: int64(s.cfg.HTTP.MaxBody), Events: s.cfg.HTTP.MaxEventsPerRequest},
	})
	if err != nil {
		return fmt.Errorf("open the door for requests: %w", err)
	}
	return nil
}

// close takes no more requests and answers those that came, as far as the context allows.
func (r *requests) close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.door == nil {
		return nil
	}
	return r.door.Close(ctx)
}
