package eventlog

import (
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
)

// Intake follows the fold: what is stored and not folded is bounded by the time that the fold needs
// for it. Beyond that the publisher begins no entry; its queue fills, and producers wait.
const (
	// unfoldedFor is that time, and entryFor what one entry may take of it.
	unfoldedFor = 100 * time.Millisecond
	entryFor    = 25 * time.Millisecond
	// unfoldedMax bounds it by events, for a fold that is fast: what waits for it helps nobody.
	unfoldedMax = 4 * events.MaxBatchEvents
	// entryLeast is how small entries become for a fold that is slow.
	entryLeast = 256
	// standstill is how long the fold may do nothing before it is not followed any more: what was
	// promised to producers is that their events are stored.
	standstill = 10 * time.Second
	// rateOver is how much of the fold's time its rate is measured over, at least.
	rateOver = 20 * time.Millisecond
)

// followed is what a publisher knows of the fold of its partition.
type followed struct {
	mu      sync.Mutex
	on      bool
	folded  uint64     // its last entry
	moved   time.Time  // when it came there
	entries []unfolded // of this publisher, stored and not folded, in order
	events  int        // of these

	perSecond float64 // events that it folds; 0 = not known
	counted   int     // events of the measurement under way, and
	busy      time.Duration
	wake      chan struct{} // has a token when it has moved
}

// unfolded is an entry that is stored and not folded.
type unfolded struct {
	sequence uint64
	events   int
	stored   time.Time
}

// Folded tells the log how far a partition is folded by whoever its readers ask. From then on
// intake follows: while what is stored and not folded is more than the fold gets done in a
// tenth of a second, no further entry is begun. Sequence 0 says that nothing needs to be
// followed, such as a fold that is far behind for a good reason.
func (l *Log) Folded(partition int, sequence uint64) {
	l.publishers[partition].fold.reached(sequence, time.Now())
}

// stored counts an entry that the publisher has stored.
func (f *followed) stored(sequence uint64, events int, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on || sequence <= f.folded {
		return
	}
	if len(f.entries) == 0 {
		f.moved = now // until now it had nothing to do
	}
	f.entries = append(f.entries, unfolded{sequence, events, now})
	f.events += events
}

func (f *followed) reached(sequence uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on, f.folded = sequence != 0, sequence
	if !f.on {
		f.entries, f.events = f.entries[:0], 0
	}
	n := 0
	for n < len(f.entries) && f.entries[n].sequence <= sequence {
		f.events -= f.entries[n].events
		f.counted += f.entries[n].events
		n++
	}
	if n > 0 {
		f.entries = append(f.entries[:0], f.entries[n:]...)
		f.busy += now.Sub(f.moved)
		if f.busy >= rateOver {
			measured := float64(f.counted) / f.busy.Seconds()
			if f.perSecond != 0 {
				measured = (f.perSecond + measured) / 2
			}
			f.perSecond, f.counted, f.busy = measured, 0, 0
		}
	}
	f.moved = now
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// within is how many events the fold gets done in some time, between bounds.
func (f *followed) within(d time.Duration, least, most int) int {
	if f.perSecond == 0 {
		return most
	}
	return min(max(least, int(f.perSecond*d.Seconds())), most)
}

// room says whether an entry may be begun, and otherwise how long to wait for the fold at most.
func (f *followed) room(now time.Time) (wait time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on || f.events <= f.within(unfoldedFor, 0, unfoldedMax) || len(f.entries) <= 1 {
		return 0, true
	}
	wait = standstill - now.Sub(f.moved)
	return wait, wait <= 0
}

// mostEvents bounds the events of an entry.
func (f *followed) mostEvents() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.within(entryFor, entryLeast, events.MaxBatchEvents)
}

// lag is how many events are stored and not folded, and for how long the first of them has been.
func (f *followed) lag(now time.Time) (events int, lag time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.entries) > 0 {
		lag = max(0, now.Sub(f.entries[0].stored))
	}
	return f.events, lag
}

// follow waits until the fold lets another entry begin, or the log stops.
func (p *publisher) follow() {
	for {
		wait, ok := p.fold.room(time.Now())
		if ok {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.fold.wake:
		case <-timer.C:
		case <-p.log.stopping.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
