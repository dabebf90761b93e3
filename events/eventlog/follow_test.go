package eventlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Intake follows the fold: as long as it does not come on, what is stored stays within a bound, and
// producers wait. When it does, they are stored. A fold that need not be followed holds up nobody.
func TestIntakeFollowsTheFold(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	log := natstest.OpenLog(t, eventlog.Config{Partitions: 1, Logger: natstest.Logger(t)})
	if _, err := log.Append(ctx, heavy(1, "first", "g")); err != nil {
		t.Fatal(err)
	}
	log.Folded(0, 1)
	stored := func() uint64 { return log.Stats()[0].LastSequence }
	fill := func() (refused bool) {
		for n := range 300 {
			brief, cancel := context.WithTimeout(ctx, time.Second)
			_, err := log.Submit(brief, lightEvents(1000, "a", n))
			cancel()
			if errors.Is(err, eventlog.ErrOverloaded) {
				return true
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return false
	}
	if !fill() {
		t.Fatal("300,000 events were taken while nothing is folded")
	}
	s := log.Stats()[0]
	if most := 5 * events.MaxBatchEvents; s.Unfolded > most || s.Unfolded == 0 || s.Lag == 0 {
		t.Errorf("%d events are stored and not folded for %v, the bound is about %d", s.Unfolded, s.Lag, most)
	}
	at := stored()
	log.Folded(0, at)
	eventually(t, "the next entries are stored", func() bool { return stored() > at })
	if s := log.Stats()[0]; s.Unfolded > 5*events.MaxBatchEvents {
		t.Errorf("%d events are stored and not folded", s.Unfolded)
	}
	log.Folded(0, 0)
	if _, err := log.Append(ctx, heavy(1, "last", "g")); err != nil {
		t.Fatal(err)
	}
	for n := range 100 { // as slow as the machine may be
		if _, err := log.Append(ctx, lightEvents(1000, "b", n)); err != nil {
			t.Fatalf("refused although no fold is followed: %v", err)
		}
	}
	if s := log.Stats()[0]; s.Unfolded != 0 || s.Lag != 0 {
		t.Errorf("%+v", s)
	}
}

// lightEvents makes events that weigh little.
func lightEvents(n int, id string, i int) []events.Event {
	evs := make([]events.Event, n)
	for k := range evs {
		evs[k] = read("g", id+string(rune('a'+k%26))+string(rune('a'+i%26)))
	}
	return evs
}
