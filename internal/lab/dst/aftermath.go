package dst

import (
	"context"
	"testing/synctest"
	"time"
)

// over is the end of a life: what the next one finds.
func (w *world) over() {
	stopped := !w.isCrashed()
	w.disk.heal()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	if stopped {
		w.broker.calm()
	} else {
		cancel()
	}
	err := w.stop(ctx)
	cancel()
	if !stopped {
		// It is dead: what it said at its end nobody heard.
		err = nil
	}
	w.collect()
	if stopped && !w.isCrashed() {
		if err != nil && !w.unreadable() {
			w.fail("the stop failed: %v", err)
		}
		w.tracef("stopped")
		if err == nil {
			w.synced = uint64(len(w.broker.entriesOf(0)))
		}
	}
	w.broker.die()
	synctest.Wait()
	w.sink()
}

// sink makes what is left of log and disk after a life.
func (w *world) sink() {
	entries := w.broker.entriesOf(0)
	if w.isCrashed() {
		w.tracef("%s", endNames[w.end])
		w.mem = w.image.after(w.end, w.random)
		if w.interval && w.end != endKill && len(entries) > 0 {
			w.loseUnsynced(entries)
		}
		if w.Plant == "acknowledge before the sync" && w.end != endKill && len(entries) > 0 {
			w.broker.replace(0, entries[:len(entries)-1])
			w.attested = min(w.attested, uint64(len(entries)-1))
		}
	}
	for _, s := range w.submits {
		if s.fate == underWay {
			s.fate = doubtful
		}
	}
	if w.armed() {
		w.damage()
	}
	w.repartition()
}

// loseUnsynced is a power loss where the log is synced at intervals.
func (w *world) loseUnsynced(entries []entry) {
	keep := int(w.synced) + w.random.IntN(len(entries)-int(w.synced)+1)
	if keep == len(entries) {
		return
	}
	w.fired(kindForgot)
	w.tracef("the log keeps %d of %d", keep, len(entries))
	for _, e := range entries[keep:] {
		w.forgive(e)
	}
	w.broker.replace(0, entries[:keep])
	w.rewound(uint64(keep))
}

// forgive takes the events of an entry for lost by name.
func (w *world) forgive(e entry) {
	for _, s := range w.submits {
		if s.fate == acknowledged && s.at[0].Sequence <= e.Sequence && s.at[len(s.at)-1].Sequence >= e.Sequence {
			s.fate = doubtful
		}
	}
}

// rewound takes in that the log ends earlier than it did.
func (w *world) rewound(last uint64) {
	w.served, w.attested, w.synced = min(w.served, last), min(w.attested, last), min(w.synced, last)
	w.durable = 0 // a state that stands beyond the log is folded again
	w.resetModel()
}
