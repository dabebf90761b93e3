package msync

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/writebehind"
)

// seenAtOnce bounds the statistic.seen events that are under way.
const seenAtOnce = 32

// seen gathers what authors have acknowledged of their receipts, as a watermark for each partition.
// It is written behind: an event a second for each author at most.
type seen struct {
	turns  *writebehind.Turns[userKey, []uint64]
	log    gateway.Acknowledger
	logger *slog.Logger
}

func newSeen(log gateway.Acknowledger, logger *slog.Logger) *seen {
	s := &seen{log: log, logger: logger}
	s.turns = writebehind.New(s.write, higher)
	return s
}

// higher merges watermarks.
func higher(older, newer []uint64) []uint64 {
	for k := range older {
		newer[k] = max(newer[k], older[k])
	}
	return newer
}

// mark notes that a user has seen their receipts up to these sequences. The slice is seen's from
// here on.
func (s *seen) mark(app, user string, upto []uint64) { s.turns.Put(userKey{app, user}, upto) }

// write appends the events. It removes from changes what is in the log.
func (s *seen) write(ctx context.Context, changes map[userKey][]uint64) error {
	type author struct {
		userKey
		upto []uint64
	}
	var all []author
	for key, upto := range changes {
		all = append(all, author{key, upto})
	}
	failed := make([]bool, len(all))
	var group errgroup.Group
	group.SetLimit(seenAtOnce)
	for i, x := range all {
		group.Go(func() error {
			err := s.log.Seen(ctx, x.app, x.user, x.upto)
			failed[i] = err != nil
			return err
		})
	}
	err := group.Wait()
	for i, x := range all {
		if !failed[i] {
			delete(changes, x.userKey)
		}
	}
	return err
}

func (s *seen) run(ctx context.Context) {
	s.turns.Run(ctx, func(err error) {
		s.logger.Warn("sdk: what authors have seen could not be stored, trying again", "error", err)
	})
}

// flush writes all that was gathered. What fails is kept for the next time.
func (s *seen) flush(ctx context.Context) error { return s.turns.Flush(ctx) }

// settle writes what a user has acknowledged, and waits for what is being written, so that their
// summary has none of it: a user who comes back within the second would be told again.
func (s *seen) settle(ctx context.Context, app, user string) {
	if err := s.turns.FlushKey(ctx, userKey{app, user}); err != nil {
		s.logger.Warn("sdk: what an author has seen could not be stored, trying again", "error", err)
	}
}
