package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// TrimmableLog is a log that lets go of its oldest entries. [eventlog.Log] is one.
type TrimmableLog interface {
	Log
	// Size returns how many entries a partition holds and how many bytes they take.
	Size(ctx context.Context, partition int) (entries, bytes uint64, err error)
	// Trim removes the entries before one of them.
	Trim(ctx context.Context, partition int, before uint64) error
}

// Retention lets old entries leave the log once nobody needs them there: they are in the archive, and every fold has a
// durable checkpoint behind them. The zero values of Age and Bytes are no limit.
type Retention struct {
	Log TrimmableLog
	// Safe is the last entry of a partition that everybody has: it and what follows stays. An error that is
	// [ErrRebuilding] says to come back later.
	Safe func(ctx context.Context, partition int) (sequence uint64, err error)
	// Age is how old an entry is that may leave; Bytes is the size of the log, all partitions together, above which
	// the oldest leave. Either is enough.
	Age   time.Duration
	Bytes int64
	// Every is the time between looks at the log; 0 = 1 min.
	Every time.Duration
	// Now is the clock; nil = time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Run trims until the context ends. What fails is tried again at the next look.
func (r *Retention) Run(ctx context.Context) error {
	every := r.Every
	if every == 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for k := range r.Log.Partitions() {
			if err := r.Trim(ctx, k); err != nil && ctx.Err() == nil {
				r.Logger.Warn("old entries stay in the log", "partition", k, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Trim lets go of what may go of one partition.
func (r *Retention) Trim(ctx context.Context, partition int) error {
	first, last, err := r.Log.Bounds(ctx, partition)
	if err != nil {
		return err
	}
	if first > last {
		return nil
	}
	want, err := r.old(ctx, partition, first, last)
	if err != nil {
		return err
	}
	more, err := r.tooMuch(ctx, partition, first, last)
	if err != nil {
		return err
	}
	if want = max(want, more); want <= first {
		return nil
	}
	safe, err := r.Safe(ctx, partition)
	if errors.Is(err, ErrRebuilding) {
		return nil
	}
	if err != nil {
		return err
	}
	if want = min(want, safe); want <= first {
		return nil
	}
	if err := r.Log.Trim(ctx, partition, want); err != nil {
		return err
	}
	r.Logger.Info("entries left the log; they are in the archive", "partition", partition, "from", first, "before", want)
	return nil
}

// old is the first entry that is not too old.
func (r *Retention) old(ctx context.Context, partition int, first, last uint64) (uint64, error) {
	if r.Age <= 0 {
		return first, nil
	}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	limit := now().Add(-r.Age)
	var failed error
	n := sort.Search(int(last-first)+1, func(i int) bool {
		if failed != nil {
			return true
		}
		e, err := r.Log.EntryAt(ctx, partition, first+uint64(i))
		if err != nil {
			failed = fmt.Errorf("look for old entries: %w", err)
		}
		return err != nil || !e.Time.Before(limit)
	})
	if errors.Is(failed, eventlog.ErrNoEntry) { // trimmed by somebody else meanwhile
		return first, nil
	}
	return first + uint64(n), failed
}

// tooMuch is the first entry that fits into the size, by the average size of an entry.
func (r *Retention) tooMuch(ctx context.Context, partition int, first, last uint64) (uint64, error) {
	if r.Bytes <= 0 {
		return first, nil
	}
	entries, size, err := r.Log.Size(ctx, partition)
	if err != nil {
		return first, err
	}
	share := uint64(r.Bytes) / uint64(r.Log.Partitions())
	if size <= share {
		return first, nil
	}
	fit := uint64(float64(entries) * float64(share) / float64(size))
	return last - min(fit, last-first+1) + 1, nil
}
