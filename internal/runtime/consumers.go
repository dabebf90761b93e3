package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/receiptd/receiptd/consumers/analytics"
)

// runner is a part of the server that runs until its context ends. One that has to be closed after
// that is an [io.Closer] too.
type runner interface {
	Run(ctx context.Context) error
}

// runFunc is a runner that somebody else closes.
type runFunc func(ctx context.Context) error

// Run calls the function.
func (f runFunc) Run(ctx context.Context) error { return f(ctx) }

// consumer is a line in the table of consumers.
type consumer struct {
	name string
	// open makes it, and asks no other server for anything: that may be down. A nil runner is
	// one that is not configured.
	open func() (runner, error)
	// optional is logged if it cannot go on, and everything else does; empty for a consumer
	// without which the server must not go on.
	optional string
	// last has it run until all requests have been answered: they wait for what it does.
	last bool

	opened runner
}

// consumers is the table of what reads the log, in the order in which it is opened; it is closed in
// the reverse order. A new consumer is one line here. What pushes to connected users, package
// notify, is no part of it: the projector tells it what was applied.
func (s *Server) consumers() []consumer {
	return []consumer{
		{name: "projector", open: func() (runner, error) { return runFunc(s.Projector.Run), nil }, last: true},
		{name: "analytics", open: s.openAnalytics,
			optional: "ClickHouse is not filled any more; nothing leaves the log until receiptd is started again"},
		{name: "snapshots", open: s.openSnapshotMaker},
		{name: "retention", open: s.openRetention},
	}
}

// openConsumers opens those that are configured.
func (s *Server) openConsumers() (err error) {
	for _, c := range s.consumers() {
		if c.opened, err = c.open(); err != nil {
			return fmt.Errorf("open %s: %w", c.name, err)
		}
		if c.opened != nil {
			s.opened = append(s.opened, c)
		}
	}
	return nil
}

// runConsumer runs one until ctx ends or, if it is one that runs last, until folding does.
func (s *Server) runConsumer(ctx, folding context.Context, c consumer) error {
	if c.last {
		ctx = folding
	}
	err := c.opened.Run(ctx)
	if err != nil && c.optional != "" {
		s.logger.Error(c.optional, "error", err)
		return nil
	}
	return err
}

// closeConsumers closes them. Run has to have returned.
func (s *Server) closeConsumers() (err error) {
	for len(s.opened) > 0 {
		c := s.opened[len(s.opened)-1]
		s.opened = s.opened[:len(s.opened)-1]
		if closer, ok := c.opened.(io.Closer); ok {
			err = errors.Join(err, closer.Close())
		}
	}
	return err
}

// openAnalytics makes what fills ClickHouse, if there is one.
func (s *Server) openAnalytics() (runner, error) {
	if s.Archive == nil {
		return nil, nil
	}
	if s.node != nil {
		s.registry.MustRegister(&analyticsCollector{core: s.Core, analytics: s.filling.Load})
		return sink{s}, nil
	}
	a, err := analytics.New(s.Log, s.Archive, s.analyticsOptions(nil))
	if err != nil {
		return nil, err
	}
	s.analytics = a
	s.registry.MustRegister(&analyticsCollector{core: s.Core, analytics: func() *analytics.Consumer { return a }})
	return a, nil
}

func (s *Server) analyticsOptions(i analytics.Intents) analytics.Options {
	return analytics.Options{
		Dir:        filepath.Join(s.cfg.Data, analyticsDir),
		CacheBytes: int(s.cfg.State.CacheSize) / 4,
		Intents:    i,
		Logger:     s.logger,
	}
}

// openRetention makes what lets go of entries that are in ClickHouse, in the state and in the state
// of the analytics, if there is a limit.
func (s *Server) openRetention() (runner, error) {
	// Of several nodes, the one that fills ClickHouse trims; without it, who makes snapshots.
	if t := s.trimmer(s.analytics); t != nil && s.node == nil && s.Archive != nil {
		return t, nil
	}
	return nil, nil
}
