package eventlog_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func TestCloseStoresWhatIsQueued(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 2}
	l := natstest.OpenLog(t, cfg)
	p := &producer{groups: 9}
	for range 50 {
		if err := p.submit(ctx, l, 500); err != nil {
			t.Fatal(err)
		}
	}
	r, err := l.Read(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, l)
	natstest.CloseLog(t, l) // again
	if _, err := l.Submit(ctx, receipts(1, 0)); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("a submit after Close says %v", err)
	}
	if err := l.Err(); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("Err after Close is %v", err)
	}
	for err == nil {
		_, err = r.Next(ctx)
	}
	if !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("a reader after Close says %v", err)
	}
	r.Close()
	check(t, ctx, natstest.OpenLog(t, cfg), []*producer{p})
}

// A submit that comes while the log closes is refused, or stored like those before.
func TestSubmitsWhileClosing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 2}
	for round := range 5 {
		l := natstest.OpenLog(t, cfg)
		_, before, err := l.Bounds(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		producers := make([]*producer, 4)
		var wg sync.WaitGroup
		for i := range producers {
			p := &producer{id: round*len(producers) + i, groups: 1}
			producers[i] = p
			wg.Go(func() {
				for {
					if err := p.submit(ctx, l, 3); err != nil {
						if !errors.Is(err, eventlog.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		eventually(t, "the log grows", func() bool {
			stats := l.Stats()
			return stats[0].LastSequence > before || stats[1].LastSequence > before
		})
		natstest.CloseLog(t, l)
		wg.Wait()
		for _, p := range producers {
			for _, ticket := range p.tickets {
				if err := ticket.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// When there is no time to store the queue, each ticket says what is known about its events.
func TestCloseWithoutTime(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	o.proxy.Hold()
	under, err := o.log.Submit(ctx, receipts(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first entry is stored", func() bool { return o.last(t, ctx) == 1 })
	next, err := o.log.Submit(ctx, receipts(5, 5))
	if err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	first := o.log.Close(brief)
	if !errors.Is(first, context.DeadlineExceeded) {
		t.Errorf("Close says %v", first)
	}
	if err := under.Wait(ctx); !errors.Is(err, eventlog.ErrUnknownOutcome) {
		t.Errorf("the entry under way says %v", err)
	}
	if err := next.Wait(ctx); !errors.Is(err, eventlog.ErrClosed) || errors.Is(err, eventlog.ErrUnknownOutcome) {
		t.Errorf("the entry after it says %v", err)
	}
	if last := o.last(t, ctx); last != 1 {
		t.Errorf("the log ends at %d, 1 entry was tried", last)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	o.proxy.Hold()
	ticket, err := o.log.Submit(ctx, receipts(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := ticket.Wait(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait says %v", err)
	}
	if got := ticket.Positions(); len(got) != 0 {
		t.Errorf("positions %v before anything is acknowledged", got)
	}
	if got := ticket.Locate(0); got.Sequence != 0 {
		t.Errorf("location %v before anything is acknowledged", got)
	}
	o.proxy.Release()
	if err := ticket.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// Not parallel: it counts goroutines.
func TestCloseLeavesNoGoroutines(t *testing.T) {
	ctx := testContext(t)
	open := func() {
		l := natstest.OpenLog(t, eventlog.Config{Partitions: 2})
		if _, err := l.Append(ctx, receipts(100, 0)); err != nil {
			t.Fatal(err)
		}
		r, err := l.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(ctx); err != nil {
			t.Fatal(err)
		}
		r.Close()
		natstest.CloseLog(t, l)
	}
	open() // starts what libraries keep running
	before := runtime.NumGoroutine()
	for range 3 {
		open()
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
