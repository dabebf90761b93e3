package analytics

import (
	"context"
	"time"
)

// writerCheck is the time between looks at whether a writer that was busy when something was due
// still is.
const writerCheck = 5 * time.Millisecond

// Deadline implements [consumers.TimedHandler].
func (f *foldStage) Deadline() (at time.Time, any bool) {
	if at, any = f.nextHandOver(); !any {
		return at, false
	}
	if now := time.Now(); !now.Before(at) { // the writer is busy
		at = now.Add(writerCheck)
	}
	return at, true
}

// Expire implements [consumers.TimedHandler].
func (f *foldStage) Expire(ctx context.Context) error { return f.maybeHandOver(ctx) }

// nextHandOver is when something is to be handed over although nothing more happens.
func (f *foldStage) nextHandOver() (at time.Time, any bool) {
	sooner := func(t time.Time) {
		if !any || t.Before(at) {
			at, any = t, true
		}
	}
	o := &f.w.c.o
	if f.block.Rows() > 0 && !f.repeating() {
		sooner(f.blockBegan.Add(o.BlockAge))
	}
	if f.w.gen.Part.ChangedMessages() > 0 {
		sooner(f.refreshed.Add(o.RefreshEvery))
	}
	if at, _ := f.w.gen.Part.Position(); at != f.w.saved.Load() {
		sooner(f.checkpointed.Add(o.CheckpointEvery))
	}
	return at, any
}
