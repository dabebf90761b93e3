package msync

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/writebehind"
)

// seenAtOnce bounds the statistic.seen events that are under way.
const seenAtOnce = 32

// seen gathers what authors have acknowledged of their receipts, as a watermark for each device and
// partition. It is written in the background: an event a second for each device at most.
type seen struct {
	buffer *writebehind.Buffer[userKey, watermarks]
	log    gateway.Acknowledger
	logger *slog.Logger
}

func newSeen(log gateway.Acknowledger, logger *slog.Logger) *seen {
	s := &seen{log: log, logger: logger}
	s.buffer = writebehind.New(s.write, higher)
	return s
}

// watermarks are by device of a user.
type watermarks map[string][]uint64

// higher merges watermarks.
func higher(older, newer watermarks) watermarks {
	for device, upto := range older {
		if newer[device] == nil {
			newer[device] = upto
			continue
		}
		for k := range upto {
			newer[device][k] = max(newer[device][k], upto[k])
		}
	}
	return newer
}

// note remembers that a user has seen their receipts up to these sequences on a device; with none
// but 0 that they have such a device. The slice is seen's from here on.
func (s *seen) note(app, user, device string, upto []uint64) {
	s.buffer.Put(userKey{app, user}, watermarks{device: upto})
}

// write appends the events. It removes from changes what is in the log.
func (s *seen) write(ctx context.Context, changes map[userKey]watermarks) error {
	type author struct {
		userKey
		devices watermarks
	}
	var all []author
	for key, devices := range changes {
		all = append(all, author{key, devices})
	}
	failed := make([]bool, len(all))
	var group errgroup.Group
	group.SetLimit(seenAtOnce)
	for i, x := range all {
		group.Go(func() error {
			err := s.writeUser(ctx, x.userKey, x.devices)
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

// writeUser appends the events of a user. Devices that only show themselves come first: what
// another one acknowledges at the same time they are still told.
func (s *seen) writeUser(ctx context.Context, user userKey, devices watermarks) error {
	names := slices.SortedFunc(maps.Keys(devices), func(a, b string) int {
		return cmp.Or(cmp.Compare(slices.Max(devices[a]), slices.Max(devices[b])), cmp.Compare(a, b))
	})
	for _, device := range names {
		if err := s.log.Seen(ctx, user.app, user.user, device, devices[device]); err != nil {
			return err
		}
	}
	return nil
}

// soon has what a user's devices have said written next, if anything waits: another process that
// serves one of them cannot settle it.
func (s *seen) soon(app, user string) {
	if key := (userKey{app, user}); s.buffer.Waiting(key) {
		s.buffer.Hurry(key)
	}
}

func (s *seen) run(ctx context.Context) {
	s.buffer.Run(ctx, func(err error) {
		s.logger.Warn("sdk: what authors have seen could not be stored, trying again", "error", err)
	})
}

// flush writes all that was gathered. What fails is kept for the next time.
func (s *seen) flush(ctx context.Context) error { return s.buffer.Flush(ctx) }

// settle writes what a user has acknowledged, on whichever device, and waits for what is being
// written, so that their summary has none of it: a user who comes back within the second would be
// told again.
func (s *seen) settle(ctx context.Context, app, user string) {
	if err := s.buffer.FlushKey(ctx, userKey{app, user}); err != nil {
		s.logger.Warn("sdk: what an author has seen could not be stored, trying again", "error", err)
	}
}
