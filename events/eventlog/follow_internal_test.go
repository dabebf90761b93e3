package eventlog

import (
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// What may be stored and not folded, and how large entries are, follows the rate of the fold. One
// that stands still is not followed for ever.
func TestLagIsBoundedByTime(t *testing.T) {
	for _, c := range []struct {
		name                string
		perSecond           int
		entry, entries, may int // events of an entry, how many are stored, events of the next one
		held                bool
	}{
		{"fast", 2_000_000, 10_000, 6, events.MaxBatchEvents, false},
		{"fast, far behind", 2_000_000, 10_000, 7, events.MaxBatchEvents, true},
		{"slow", 20_000, 500, 4, 500, false},
		{"slow, behind", 20_000, 500, 5, 500, true},
		{"very slow", 1000, 256, 2, entryLeast, true},
		{"very slow, one entry", 1000, 256, 1, entryLeast, false},
	} {
		now := time.Unix(1, 0)
		f := followed{wake: make(chan struct{}, 1)}
		f.reached(1, now)
		sequence := uint64(1)
		for range 10 { // measured
			sequence++
			f.stored(sequence, c.entry, now)
			now = now.Add(time.Duration(c.entry) * time.Second / time.Duration(c.perSecond))
			f.reached(sequence, now)
			now = now.Add(time.Second) // with nothing to do
		}
		for range c.entries {
			sequence++
			f.stored(sequence, c.entry, now)
		}
		if n := f.mostEvents(); n < c.may*9/10 || n > c.may*11/10 {
			t.Errorf("%s: entries of %d events, want %d", c.name, n, c.may)
		}
		wait, ok := f.room(now)
		if ok == c.held || c.held && wait != standstill {
			t.Errorf("%s: may begin: %v, after %v", c.name, ok, wait)
		}
		if n, lag := f.lag(now.Add(time.Millisecond)); n != c.entry*c.entries || lag != time.Millisecond {
			t.Errorf("%s: %d events behind for %v", c.name, n, lag)
		}
		if _, ok := f.room(now.Add(standstill)); !ok {
			t.Errorf("%s: a fold that stands still is followed for ever", c.name)
		}
		f.reached(sequence, now)
		if _, ok := f.room(now); !ok || len(f.entries) != 0 || f.events != 0 {
			t.Errorf("%s: folded, and %d events are left", c.name, f.events)
		}
	}
}
