package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/consumers/retention"
	"github.com/receiptd/receiptd/internal/cluster"
)

// sink fills ClickHouse when it is this node's turn, and lets go of what may leave the log
// meanwhile: one node does both at a time.
type sink struct{ s *Server }

// Run implements runner. A node that cannot, for its disk is full or its state cannot be opened,
// leaves it to another one.
func (k sink) Run(ctx context.Context) error {
	turns := cluster.Turns{
		Bucket: k.s.bucket, Name: sinkName, Node: k.s.node.Name(), Life: k.s.life, Keep: k.s.node.Alive,
		First: cluster.Settle, // until it is known who is there
		Every: claimEvery, Able: func() error { return k.s.room(0) }, Work: k.fill,
		Refusal: "this node does not fill ClickHouse now", Logger: k.s.logger,
	}
	turns.Run(ctx)
	return nil
}

// fill fills ClickHouse until the context ends or another node has taken over.
func (k sink) fill(ctx context.Context, w *cluster.Writer) error {
	s := k.s
	o := s.analyticsOptions(intents{w})
	o.OnlyWithRoom = true
	a, err := analytics.New(s.Log, s.Archive, o)
	if err != nil {
		return err
	}
	s.logger.Info("this node fills ClickHouse from now on", "node", s.node.Name())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if t := s.trimmer(a); t != nil {
			_ = t.Run(ctx)
		}
	}()
	s.filling.Store(a)
	err = a.Run(ctx)
	s.filling.Store(nil)
	cancel()
	<-done
	return errors.Join(err, a.Close())
}

// intents are the notes of the writer that fills ClickHouse.
type intents struct{ w *cluster.Writer }

// Read implements [analytics.Intents].
func (i intents) Read(ctx context.Context, partition int) (intent analytics.Intent, err error) {
	note, err := i.w.Read(ctx, partition)
	if err != nil || note == nil {
		return intent, fenced(err)
	}
	if intent, err = analytics.ParseIntent(note); err != nil {
		return intent, fmt.Errorf("read intent: %w", err)
	}
	return intent, nil
}

// Write implements [analytics.Intents].
func (i intents) Write(ctx context.Context, partition int, intent analytics.Intent) error {
	note, err := json.Marshal(intent)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return fenced(i.w.Write(ctx, partition, note))
}

func fenced(err error) error {
	if errors.Is(err, cluster.ErrFenced) {
		return fmt.Errorf("%w: %w", analytics.ErrFenced, err)
	}
	return err
}

// trimmer is what lets go of entries that are covered, by ClickHouse, which a fills, by snapshots
// or by both, and that nobody needs; nil if there is no limit.
func (s *Server) trimmer(a *analytics.Consumer) *retention.Trimmer {
	if s.cfg.Analytics.RetainAge <= 0 && s.cfg.Analytics.RetainSize <= 0 {
		return nil
	}
	return &retention.Trimmer{
		Log: s.Log, Age: s.cfg.Analytics.RetainAge, Bytes: int64(s.cfg.Analytics.RetainSize),
		Every: s.cfg.State.SnapshotEvery, Logger: s.logger,
		Safe: func(ctx context.Context, k int) (uint64, error) {
			folded, err := s.Projector.Durable(k)
			switch {
			case errors.Is(err, projector.ErrRebuilding): // it reads the log: not now
				return 0, nil
			case errors.Is(err, projector.ErrAbsent): // the floor says what this node needs
				folded, err = ^uint64(0), nil
			}
			safe := folded
			if a != nil {
				safe = min(safe, a.Safe(k))
			}
			if covered, made, e := s.covered(ctx, k); made {
				safe, err = min(safe, covered), errors.Join(err, e)
			}
			if s.node != nil && err == nil {
				var floor uint64
				floor, err = s.node.Floor(ctx, k)
				safe = min(safe, floor)
			}
			return safe, err
		},
	}
}
