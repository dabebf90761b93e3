package consumers

import (
	"context"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// due is when something is to be handed over although nothing more happens.
func (f *folding) due() (at time.Time, any bool) {
	sooner := func(t time.Time) {
		if !any || t.Before(at) {
			at, any = t, true
		}
	}
	o := &f.w.a.o
	if f.block.Rows() > 0 && f.again.Last == 0 {
		sooner(f.since.Add(o.BlockAge))
	}
	if f.w.gen.part.ChangedMessages() > 0 {
		sooner(f.refreshed.Add(o.RefreshEvery))
	}
	if at, _ := f.w.gen.part.Position(); at != f.w.saved.Load() {
		sooner(f.checkpointed.Add(o.CheckpointEvery))
	}
	return at, any
}

// patience is how long a wait for an entry may last. It stays the same for many waits.
type patience struct {
	until   time.Time
	waiting context.Context
	end     context.CancelFunc
}

// last has the waits last until a time.
func (p *patience) last(ctx context.Context, until time.Time) context.Context {
	if !until.Equal(p.until) {
		p.end()
		p.until = until
		p.waiting, p.end = context.WithDeadline(ctx, until)
	}
	return p.waiting
}

// writerCheck is the time between looks at whether a writer that was busy when something was due still is.
const writerCheck = 5 * time.Millisecond

// wait waits for an entry until something else is due; here is false then.
func (f *folding) wait(ctx context.Context, r *eventlog.Reader, p *patience) (e eventlog.Entry, here bool, err error) {
	due, any := f.due()
	if !any {
		e, err = r.Next(ctx)
		return e, err == nil, err
	}
	if now := time.Now(); !now.Before(due) { // the writer is busy
		due = now.Add(writerCheck)
	}
	waiting := p.last(ctx, due)
	e, err = r.Next(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return e, false, nil
	}
	return e, err == nil, err
}
