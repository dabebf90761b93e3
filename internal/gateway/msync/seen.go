package msync

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// seenEvery is how often what clients acknowledged is written: an event a second for each author at most.
	seenEvery = time.Second
	// seenAtOnce bounds the events under way.
	seenAtOnce = 32
)

// seen gathers what authors have acknowledged of their receipts.
type seen struct {
	commands Commands
	logger   *slog.Logger
	flushing sync.Mutex

	mu    sync.Mutex
	dirty map[userKey][]uint64
}

func newSeen(commands Commands, logger *slog.Logger) *seen {
	return &seen{commands: commands, logger: logger, dirty: make(map[userKey][]uint64)}
}

// mark notes that a user has seen his receipts up to these sequences. The slice is seen's from here on.
func (s *seen) mark(app, user string, upto []uint64) {
	key := userKey{app, user}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.dirty[key]
	for k := range old {
		upto[k] = max(upto[k], old[k])
	}
	s.dirty[key] = upto
}

func (s *seen) run(ctx context.Context) {
	ticker := time.NewTicker(seenEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.flush(ctx); err != nil && ctx.Err() == nil {
				s.logger.Warn("sdk: what authors have seen could not be stored, trying again", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// flush writes what was gathered. What fails is kept for the next time.
func (s *seen) flush(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = make(map[userKey][]uint64)
	s.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(seenAtOnce)
	for key, upto := range dirty {
		group.Go(func() error {
			err := s.commands.Seen(ctx, key.app, key.user, upto)
			if err != nil {
				s.mark(key.app, key.user, upto)
			}
			return err
		})
	}
	return group.Wait()
}
