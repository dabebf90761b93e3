package msync

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// seenEvery is how often what clients acknowledged is written: an event a second for each author at most.
	seenEvery = time.Second
	// seenTurns spreads the authors over that time: all at once they would hold up everything else in the log.
	seenTurns = 20
	// seenAtOnce bounds the events under way.
	seenAtOnce = 32
)

// seen gathers what authors have acknowledged of their receipts.
type seen struct {
	commands Commands
	logger   *slog.Logger
	// flushing is held while a turn is written.
	flushing [seenTurns]sync.Mutex

	seed  maphash.Seed
	mu    sync.Mutex
	dirty [seenTurns]map[userKey][]uint64 // by the turn of the user
}

func newSeen(commands Commands, logger *slog.Logger) *seen {
	s := &seen{commands: commands, logger: logger, seed: maphash.MakeSeed()}
	for k := range s.dirty {
		s.dirty[k] = make(map[userKey][]uint64)
	}
	return s
}

// turn is when a user is written.
func (s *seen) turn(key userKey) uint64 { return maphash.Comparable(s.seed, key) % seenTurns }

// mark notes that a user has seen his receipts up to these sequences. The slice is seen's from here on.
func (s *seen) mark(app, user string, upto []uint64) {
	key := userKey{app, user}
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty := s.dirty[s.turn(key)]
	old := dirty[key]
	for k := range old {
		upto[k] = max(upto[k], old[k])
	}
	dirty[key] = upto
}

func (s *seen) run(ctx context.Context) {
	ticker := time.NewTicker(seenEvery / seenTurns)
	defer ticker.Stop()
	for turn := 0; ; turn = (turn + 1) % seenTurns {
		select {
		case <-ticker.C:
			if err := s.flushTurn(ctx, turn); err != nil && ctx.Err() == nil {
				s.logger.Warn("sdk: what authors have seen could not be stored, trying again", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// flush writes all that was gathered. What fails is kept for the next time.
func (s *seen) flush(ctx context.Context) (err error) {
	for turn := range seenTurns {
		err = errors.Join(err, s.flushTurn(ctx, turn))
	}
	return err
}

func (s *seen) flushTurn(ctx context.Context, turn int) error {
	s.flushing[turn].Lock()
	defer s.flushing[turn].Unlock()
	s.mu.Lock()
	dirty := s.dirty[turn]
	s.dirty[turn] = make(map[userKey][]uint64)
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

// settle writes what a user has acknowledged, and waits for what is being written: his summary has none of it afterwards. Who comes back within
// the second would be told again.
func (s *seen) settle(ctx context.Context, app, user string) {
	key := userKey{app, user}
	turn := s.turn(key)
	s.flushing[turn].Lock()
	defer s.flushing[turn].Unlock()
	s.mu.Lock()
	upto := s.dirty[turn][key]
	delete(s.dirty[turn], key)
	s.mu.Unlock()
	if upto == nil {
		return
	}
	if err := s.commands.Seen(ctx, app, user, upto); err != nil {
		s.logger.Warn("sdk: what an author has seen could not be stored, trying again", "error", err)
		s.mark(app, user, upto)
	}
}
