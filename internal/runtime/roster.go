package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
)

const (
	// repartitionName is the writer that repartitions the log of several nodes.
	repartitionName = "repartition"
	// signOffWithin is how long those that have the log open when it is to be repartitioned have
	// to close it. Whoever still has it open then is fenced, and what it is about to store refused.
	signOffWithin = 15 * time.Second
	// signOffTry is how long one that closes it waits for that, and for the others to do so.
	signOffTry = 5 * time.Second
	// takeOverAfter is how long the node is waited for that repartitions, before another one does
	// it, too: no step does harm if two take it.
	takeOverAfter = 30 * time.Second
	// rosterEvery is how often a node looks whether the log is to be repartitioned.
	rosterEvery = time.Second
	// rosterLookEvery is the same for one that waits for that.
	rosterLookEvery = 200 * time.Millisecond
)

// roster is this process on the roster of those that have the log of several nodes open.
type roster struct {
	cfg    config.Config
	me     eventlog.PublisherID
	logger *slog.Logger

	partitions atomic.Int64 // that the log has at least
}

func newRoster(cfg config.Config, logger *slog.Logger) *roster {
	return &roster{cfg: cfg, me: eventlog.PublisherID{Node: cfg.Cluster.Node, Epoch: eventlog.NewEpoch()}, logger: logger}
}

// enlist has a log sign on before it opens and off when it is closed.
func (r *roster) enlist(o *eventlog.Config) {
	before := o.BeforeOpen
	o.Epoch, o.MinPartitions = r.me.Epoch, func() int { return int(r.partitions.Load()) }
	o.BeforeOpen = func(ctx context.Context, nc *nats.Conn) error {
		if before != nil {
			if err := before(ctx, nc); err != nil {
				return err
			}
		}
		if err := r.signOn(ctx, nc); err != nil {
			return fmt.Errorf("sign on to the log: %w", err)
		}
		return nil
	}
	o.OnClose = func(ctx context.Context, nc *nats.Conn) {
		if err := r.signOff(ctx, nc); err != nil {
			r.logger.Info("the log is closed and this node is still on the roster; a repartition will wait for it", "error", err)
		}
	}
}

func (r *roster) bucket(ctx context.Context, nc *nats.Conn) (b *cluster.Bucket, err error) {
	err = retry(ctx, r.logger, func(ctx context.Context) (err error) {
		b, err = cluster.OpenBucket(ctx, nc, cluster.BucketName, r.cfg.CopiesOfLog(), 0)
		return err
	})
	return b, err
}

// signOn returns once this process is on the roster. While the log is being repartitioned it waits,
// or helps.
func (r *roster) signOn(ctx context.Context, nc *nats.Conn) error {
	b, err := r.bucket(ctx, nc)
	if err != nil {
		return err
	}
	for {
		var now cluster.Roster
		var under *cluster.RepartitioningError
		err := retry(ctx, r.logger, func(ctx context.Context) (err error) {
			now, err = cluster.SignOn(ctx, b, r.me)
			if errors.As(err, &under) {
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if under == nil {
			r.partitions.Store(int64(now.Partitions))
			return nil
		}
		if err := r.finish(ctx, nc, b, under.Roster.To); err != nil {
			return err
		}
	}
}

// signOff takes this process off the roster. Where the log's servers are those of the nodes, and
// the nodes close it for a repartition, it returns when the others have signed off as well: they
// could not without a majority of the servers.
func (r *roster) signOff(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signOffTry)
	defer cancel()
	b, err := cluster.FindBucket(ctx, nc, cluster.BucketName)
	if err == nil {
		err = cluster.SignOff(ctx, b, r.me)
	}
	for err == nil && r.cfg.Cluster.Listen != "" {
		now, e := cluster.ReadRoster(ctx, b)
		if e != nil || now.To == 0 || len(now.Publishers) == 0 {
			break
		}
		select {
		case <-time.After(rosterLookEvery):
		case <-ctx.Done():
			return nil // they have had their time
		}
	}
	return err
}

// finish returns once the log is repartitioned, by another node or by this one.
func (r *roster) finish(ctx context.Context, nc *nats.Conn, b *cluster.Bucket, to int) error {
	r.logger.Info("the log is being repartitioned; the start waits for that", "to", to)
	began := time.Now()
	for {
		now, err := cluster.ReadRoster(ctx, b)
		if err == nil && now.To != to {
			return nil
		}
		if err == nil && (len(now.Publishers) == 0 || time.Since(began) > signOffWithin) {
			err = r.repartition(ctx, nc, b, to, func(string, string) bool { return time.Since(began) < takeOverAfter })
			if err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, cluster.ErrConflict) {
			r.logger.Warn("the log is not repartitioned yet; trying again", "to", to, "error", err)
		}
		select {
		case <-time.After(rosterLookEvery):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// repartition takes all steps that were not taken yet, unless keep says that the node that is at it
// should go on alone.
func (r *roster) repartition(ctx context.Context, nc *nats.Conn, b *cluster.Bucket, to int, keep func(node, life string) bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, takeOverAfter)
	defer cancel()
	w, err := cluster.Claim(ctx, b, repartitionName, r.me.Node, r.me.Epoch, func(node, life string) bool { return node != "" && keep(node, life) })
	if err != nil {
		return err
	}
	open, err := cluster.OpenPublishers(ctx, b)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		r.logger.Warn("nodes that have the log open are fenced: they are away, or stand still", "publishers", open)
	}
	done, err := eventlog.RepartitionShared(ctx, nc, logConfig(r.cfg, r.logger), to, open)
	if err != nil {
		return err
	}
	if err := cluster.FinishRepartition(ctx, b, to); err != nil {
		return err
	}
	r.logger.Info("the log was repartitioned; the states are split as they are folded on", "from", done.From, "to", done.To, "entries", done.ForkPoints)
	return w.Release(ctx)
}

// watchRoster has a node end when the log is to be repartitioned: whoever runs it starts it again.
func (s *Server) watchRoster(ctx context.Context) {
	tick := time.NewTicker(rosterEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, err := cluster.ReadRoster(ctx, s.bucket)
		if err == nil && now.To > s.Log.Partitions() {
			s.endFor(now.To)
			return
		}
	}
}

// endFor has the server end and be started again, when the log has so many partitions.
func (s *Server) endFor(partitions int) {
	s.repartitionTo.Store(int64(partitions))
	s.end()
}
