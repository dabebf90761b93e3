package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// Log is a log that lets go of its oldest entries. [eventlog.Log] is one.
type Log interface {
	Partitions() int
	Bounds(ctx context.Context, partition int) (first, last uint64, err error)
	EntryAt(ctx context.Context, partition int, sequence uint64) (eventlog.Entry, error)
	// Size returns how many entries a partition holds and how many bytes they take.
	Size(ctx context.Context, partition int) (entries, bytes uint64, err error)
	// Trim removes the entries before one of them.
	Trim(ctx context.Context, partition int, before uint64) error
}

// Trimmer lets old entries leave the log once nobody needs them there: they are in the archive or
// covered by snapshots, and every fold has a durable checkpoint that covers them. The zero values
// of Age and Bytes are no limit.
type Trimmer struct {
	Log Log
	// Safe is the last entry of a partition that everybody has: it and what follows stay. 0
	// says that nothing may leave now.
	Safe func(ctx context.Context, partition int) (sequence uint64, err error)
	// Age is how old an entry is that may leave; Bytes is the size of the log, all partitions
	// together, above which the oldest leave. Either is enough.
	Age   time.Duration
	Bytes int64
	// Every is the time between looks at the log, 1 min at most; 0 = 1 min.
	Every time.Duration
	// Now is the clock; nil = time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Run trims until the context ends. What fails is logged, and tried again at the next look.
func (t *Trimmer) Run(ctx context.Context) error {
	every := time.Minute
	if t.Every > 0 {
		every = min(every, t.Every)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for k := range t.Log.Partitions() {
			if err := t.Trim(ctx, k); err != nil && ctx.Err() == nil {
				t.Logger.Warn("old entries stay in the log", "partition", k, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Trim lets go of what may leave one partition.
func (t *Trimmer) Trim(ctx context.Context, partition int) error {
	first, last, err := t.Log.Bounds(ctx, partition)
	if err != nil {
		return err
	}
	if first > last {
		return nil
	}
	want, err := t.old(ctx, partition, first, last)
	if err != nil {
		return err
	}
	more, err := t.tooMuch(ctx, partition, first, last)
	if err != nil {
		return err
	}
	if want = max(want, more); want <= first {
		return nil
	}
	safe, err := t.Safe(ctx, partition)
	if err != nil {
		return err
	}
	if want = min(want, safe); want <= first {
		return nil
	}
	if err := t.Log.Trim(ctx, partition, want); err != nil {
		return err
	}
	// Entries that partitions have in common stay until the others let go of them, too.
	now, _, err := t.Log.Bounds(ctx, partition)
	if err != nil {
		return err
	}
	if now > first {
		t.Logger.Info("entries left the log; they are covered elsewhere", "partition", partition, "from", first, "before", now)
	}
	return nil
}

// old returns the first entry that is not too old.
func (t *Trimmer) old(ctx context.Context, partition int, first, last uint64) (uint64, error) {
	if t.Age <= 0 {
		return first, nil
	}
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	limit := now().Add(-t.Age)
	var failed error
	n := sort.Search(int(last-first)+1, func(i int) bool {
		if failed != nil {
			return true
		}
		e, err := t.Log.EntryAt(ctx, partition, first+uint64(i))
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

// tooMuch returns the first entry that fits into the size, judged by the average size of an entry.
func (t *Trimmer) tooMuch(ctx context.Context, partition int, first, last uint64) (uint64, error) {
	if t.Bytes <= 0 {
		return first, nil
	}
	entries, size, err := t.Log.Size(ctx, partition)
	if err != nil {
		return first, err
	}
	share := uint64(t.Bytes) / uint64(t.Log.Partitions())
	if size <= share {
		return first, nil
	}
	fit := uint64(float64(entries) * float64(share) / float64(size))
	return last - min(fit, last-first+1) + 1, nil
}
