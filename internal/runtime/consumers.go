package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/cluster"
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
	// off says that it is not configured.
	off bool
	// singleton, if set, names the right to run a consumer that only one node at a time may run,
	// since it acts on the world outside, as by writing into a database. Each term begins with open
	// and ends with Close; when a node is gone, or its consumer cannot go on, another node takes
	// over.
	singleton string
	// open makes it, and asks no other server for anything: that may be down. right is that of this
	// term, with the notes of those who had it before; nil unless the consumer is a singleton and
	// this is a node.
	open func(right *cluster.Writer) (runner, error)
	// metrics are shown as long as the server runs; nil if there are none.
	metrics prometheus.Collector
	// optional, if set, is logged when the consumer fails for good, and the server goes on without
	// it. Without optional the server ends.
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
		{name: "projector", last: true,
			open: func(*cluster.Writer) (runner, error) { return runFunc(s.Projector.Run), nil }},
		{name: "analytics", off: s.Archive == nil, singleton: sinkName, open: s.openAnalytics,
			metrics:  &analyticsCollector{core: s.Core, analytics: s.filling.Load},
			optional: "ClickHouse is not filled any more; nothing leaves the log until receiptd is started again"},
		{name: "snapshots", off: s.cfg.State.SnapshotEvery == 0, metrics: &snapshotCollector{s.Core},
			open: func(*cluster.Writer) (runner, error) { return snapshotMaker{s}, nil }},
	}
}

// openConsumers opens those that are configured.
func (s *Server) openConsumers() (err error) {
	for _, c := range s.consumers() {
		if c.off {
			continue
		}
		if c.singleton != "" && s.node != nil {
			c.opened = singletonConsumer{s, c}
		} else if c.opened, err = c.open(nil); err != nil {
			return fmt.Errorf("open %s: %w", c.name, err)
		}
		if c.metrics != nil {
			s.registry.MustRegister(c.metrics)
		}
		s.opened = append(s.opened, c)
	}
	return nil
}

// singletonConsumer is a consumer that one node at a time runs.
type singletonConsumer struct {
	s *Server
	c consumer
}

// Run implements runner. A node that cannot, for its disk is full or its state cannot be opened,
// leaves it to another one.
func (o singletonConsumer) Run(ctx context.Context) error {
	work := o.singleton()
	work.Run(ctx)
	return nil
}

func (o singletonConsumer) singleton() cluster.Singleton {
	work := o.s.singleton(o.c.singleton, o.s.bucket)
	work.Every, work.Work, work.Refusal = claimEvery, o.serve, "this node does not run "+o.c.name+" now"
	work.Able = func() error { return cmp.Or(o.s.fit(), o.s.room(0)) }
	return work
}

// singleton is work that one process at a time does. A server that is alone has the right at once.
func (s *Server) singleton(name string, r cluster.Register) cluster.Singleton {
	w := cluster.Singleton{
		Register: r, Name: name, Life: s.life, Keep: func(string, string) bool { return false }, Able: s.fit, Logger: s.logger,
	}
	if s.node != nil {
		w.Node, w.Keep = s.node.Name(), s.node.Alive
		w.First = cluster.Settle // until it is known who is there
	}
	return w
}

// fit says why this node is not to do what one does for all: a copy of its own was refused, so that
// whatever it folds may be wrong.
func (s *Server) fit() error {
	if err := s.Projector.Refused(); err != nil {
		return fmt.Errorf("%w: %w", cluster.ErrUnfit, err)
	}
	return nil
}

// serve runs it until the context ends or another node has taken over.
func (o singletonConsumer) serve(ctx context.Context, right *cluster.Writer) error {
	r, err := o.c.open(right)
	if err != nil {
		return err
	}
	o.s.logger.Info("a consumer that one node runs at a time runs here from now on", "consumer", o.c.name, "node", o.s.node.Name())
	err = r.Run(ctx)
	if closer, ok := r.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return err
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
