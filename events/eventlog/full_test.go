package eventlog_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A disk that runs out of space refuses events without storing any, and takes them again when there
// is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	var free atomic.Int64
	free.Store(1<<30 + 1<<29) // not plenty
	l := natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{Partitions: 1, MinFree: 1 << 30}, eventlog.Hooks{
		DiskFree: func(string) (int64, error) { return free.Load(), nil },
	}))
	p := &producer{groups: 2}
	if err := p.submit(ctx, l, 3); err != nil {
		t.Fatal(err)
	}
	if err := p.tickets[0].Wait(ctx); err != nil {
		t.Fatal(err)
	}
	free.Store(1 << 30)
	for range 2 {
		ticket, err := l.Append(ctx, receipts(5, 0))
		if !errors.Is(err, eventlog.ErrLogFull) || !errors.Is(err, eventlog.ErrUnavailable) || errors.Is(err, eventlog.ErrUnknownOutcome) {
			t.Errorf("the ticket says %v", err)
		}
		if len(ticket.Positions()) != 0 || ticket.Locate(0).Sequence != 0 {
			t.Error("a refused ticket has a position")
		}
	}
	free.Store(1 << 40)
	if err := p.submit(ctx, l, 3); err != nil {
		t.Fatal(err)
	}
	if err := p.tickets[1].Wait(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, ctx, l, []*producer{p})
	if s := l.Stats()[0]; s.Failed != 2 || s.Entries != 2 {
		t.Errorf("%+v", s)
	}
	if err := l.Err(); err != nil {
		t.Errorf("the log failed: %v", err)
	}
}

func TestDiskBelowTheReserveByDefault(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{MinFree: 1 << 62}) // more than any disk has
	if _, err := l.Append(ctx, receipts(5, 0)); !errors.Is(err, eventlog.ErrLogFull) {
		t.Errorf("the ticket says %v", err)
	}
}

// No reserve is none: an entry is taken that leaves a few bytes.
func TestNoReserve(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{Partitions: 1, MinFree: eventlog.NoMinFree}, eventlog.Hooks{
		DiskFree: func(string) (int64, error) { return 4096, nil },
	}))
	if _, err := l.Append(ctx, receipts(5, 0)); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(ctx, receipts(5, 1000)); err != nil {
		t.Error(err)
	}
	if err := l.ReserveDisk(4097); !errors.Is(err, eventlog.ErrLogFull) {
		t.Errorf("more than there is: %v", err)
	}
}

func TestFullStream(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 1, MaxBytes: 64 << 10}
	l := natstest.OpenLog(t, cfg)
	p := &producer{groups: 2}
	for {
		if err := p.submit(ctx, l, 200); err != nil {
			t.Fatal(err)
		}
		last := len(p.tickets) - 1
		err := p.tickets[last].Wait(ctx)
		if errors.Is(err, eventlog.ErrLogFull) {
			p.tickets = p.tickets[:last]
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	check(t, ctx, l, []*producer{p}) // the oldest are still there
	natstest.CloseLog(t, l)

	cfg.MaxBytes *= 2
	var differs *eventlog.StreamConfigError
	if err := openError(t, cfg); !errors.As(err, &differs) || differs.Field != "max_bytes" {
		t.Errorf("another limit: %v", err)
	}
	cfg.MaxBytes = 0 // whatever there is
	l = natstest.OpenLog(t, cfg)
	if _, err := l.Append(ctx, receipts(events.MaxBatchEvents, 0)); !errors.Is(err, eventlog.ErrLogFull) {
		t.Errorf("the ticket says %v", err)
	}
}
