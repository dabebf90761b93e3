package projector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events"
)

func list(o ...events.Outcome) []events.Outcome { return o }

func TestOutcomesAreThoseOfTheEntry(t *testing.T) {
	o := newOutcomes(7)
	o.decided(8, list(events.OutcomeApplied, events.OutcomeDuplicate))
	o.decided(9, nil) // a poison entry
	o.decided(10, list(events.RejectedNotFound))
	for seq, want := range map[uint64][]events.Outcome{
		8: list(events.OutcomeApplied, events.OutcomeDuplicate), 9: nil, 10: list(events.RejectedNotFound),
	} {
		if got, err := o.wait(t.Context(), seq); err != nil || !slices.Equal(got, want) {
			t.Errorf("entry %d: %v, %v; want %v", seq, got, err, want)
		}
	}
	if o.last() != 10 {
		t.Errorf("last is %d", o.last())
	}
}

// The fold reuses its list; an answer is the caller's to keep.
func TestOutcomesAreCopied(t *testing.T) {
	o := newOutcomes(0)
	scratch := list(events.OutcomeApplied)
	o.decided(1, scratch)
	scratch[0] = events.OutcomeParked
	first, _ := o.wait(t.Context(), 1)
	first[0] = events.OutcomeDuplicate
	if got, _ := o.wait(t.Context(), 1); !slices.Equal(got, list(events.OutcomeApplied)) {
		t.Errorf("got %v", got)
	}
}

func TestWaitEndsWhenTheEntryIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 100
		o := newOutcomes(0)
		var folded, answered sync.WaitGroup
		for i := range waiters {
			answered.Go(func() {
				seq := uint64(i%10 + 1)
				got, err := o.wait(t.Context(), seq)
				if err != nil || !slices.Equal(got, list(events.Outcome(seq))) {
					t.Errorf("entry %d: %v, %v", seq, got, err)
				}
			})
		}
		synctest.Wait()
		folded.Go(func() {
			for seq := range uint64(10) {
				time.Sleep(time.Second)
				o.decided(seq+1, list(events.Outcome(seq+1)))
			}
		})
		answered.Wait()
		folded.Wait()
		if len(o.waiting) > 0 {
			t.Errorf("%d are still waited for", len(o.waiting))
		}
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutcomes(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := o.wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		// What is there is told even so.
		o.decided(1, list(events.OutcomeApplied))
		if got, err := o.wait(ctx, 1); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestWaitEndsWithTheFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutcomes(0)
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if _, err := o.wait(t.Context(), 2); !errors.Is(err, ErrStopped) {
					t.Errorf("error %v", err)
				}
			})
		}
		o.decided(1, list(events.OutcomeApplied))
		synctest.Wait()
		o.end()
		waiting.Wait()
		if _, err := o.wait(t.Context(), 1); err != nil {
			t.Errorf("what was folded before: %v", err)
		}
		if _, err := o.wait(t.Context(), 2); !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOldOutcomesAreGoneAndMemoryIsBounded(t *testing.T) {
	o := newOutcomes(5)
	if _, err := o.wait(t.Context(), 5); !errors.Is(err, ErrOutcomeGone) {
		t.Errorf("an entry of before the start: %v", err)
	}
	many := make([]events.Outcome, events.MaxBatchEvents)
	const entries = 3 * maxOutcomeBytes / events.MaxBatchEvents
	for i := range uint64(entries) {
		many[0] = events.Outcome(i % 7)
		o.decided(6+i, many)
		if o.bytes > maxOutcomeBytes {
			t.Fatalf("%d bytes are kept", o.bytes)
		}
	}
	if _, err := o.wait(t.Context(), 6); !errors.Is(err, ErrOutcomeGone) {
		t.Errorf("the first entry: %v", err)
	}
	kept := 0
	for i := range uint64(entries) {
		switch got, err := o.wait(t.Context(), 6+i); {
		case err == nil:
			kept++
			if got[0] != events.Outcome(i%7) || len(got) != len(many) {
				t.Fatalf("entry %d has the outcomes of another", 6+i)
			}
		case kept > 0:
			t.Fatalf("entry %d is gone, an older one is not: %v", 6+i, err)
		}
	}
	if kept != maxOutcomeBytes/events.MaxBatchEvents {
		t.Errorf("%d entries are kept", kept)
	}
	// Small entries are bounded by their number.
	for i := range uint64(2 * maxOutcomeEntries) {
		o.decided(6+entries+i, list(events.OutcomeApplied))
	}
	if len(o.decisions) > maxOutcomeEntries || len(o.recycled) > 16 {
		t.Errorf("%d entries and %d spare ones are kept", len(o.decisions), len(o.recycled))
	}
}
