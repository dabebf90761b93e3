package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/consumers/retention"
	"github.com/receiptd/receiptd/internal/cluster"
)

// openAnalytics makes what fills ClickHouse; of several nodes, the one that has the right does.
func (s *Server) openAnalytics(right *cluster.Writer) (runner, error) {
	o := analytics.Options{
		Dir:        filepath.Join(s.cfg.Data, analyticsDir),
		CacheBytes: int(s.cfg.State.CacheSize) / 4,
		Logger:     s.logger,
	}
	if right != nil { // another node may have the room that this one waits for
		o.Intents, o.OnlyWithRoom = intents{right}, true
	}
	a, err := analytics.New(s.Log, s.Archive, o)
	if err != nil {
		return nil, err
	}
	if right == nil {
		s.analytics = a
	}
	s.filling.Store(a)
	return &sink{s, a}, nil
}

// sink fills ClickHouse, and lets go of what may leave the log meanwhile: one node does both at a
// time.
type sink struct {
	s *Server
	a *analytics.Consumer
}

// Run implements runner.
func (k *sink) Run(ctx context.Context) error {
	trimming, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { stop(); <-done }()
	go func() {
		defer close(done)
		if t := k.s.trimmer(k.a); t != nil {
			_ = t.Run(trimming) // it logs what fails, and has no error
		}
	}()
	return k.a.Run(ctx)
}

// Close implements [io.Closer].
func (k *sink) Close() error {
	k.s.filling.Store(nil)
	return k.a.Close()
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
