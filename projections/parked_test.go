package projections_test

import (
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// A receipt that is parked and decided between two checkpoints is written by none; one that a
// checkpoint has is removed by the next.
func TestParkedReceiptsOfAMomentAreNotWritten(t *testing.T) {
	const app, parked = "acme#chat", 'P'
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	read := events.Event{Kind: events.MessageRead, App: app, Group: "g", User: "ben", Message: "m"}
	sent := events.Event{Kind: events.MessageSent, App: app, Group: "g", User: "ann", Message: "m", Receipt: true}
	for _, between := range []bool{false, true} {
		part, err := projections.Open(0, memory{}, projections.Options{})
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(0)
		apply := func(list ...events.Event) []events.Outcome {
			seq++
			var b events.Batch
			b.SetEvents(list)
			outcomes, err := part.Apply(projections.Decoded{Sequence: seq, At: 1, Batch: &b})
			if err != nil {
				t.Fatal(err)
			}
			return outcomes
		}
		checkpoint := func() (puts, dels int) {
			c, err := part.Capture()
			if err != nil {
				t.Fatal(err)
			}
			count := func(n *int, key []byte) error {
				if key[0] == parked {
					*n++
				}
				return nil
			}
			err = c.Each(func(key, _ []byte) error { return count(&puts, key) }, func(key []byte) error { return count(&dels, key) })
			if err != nil {
				t.Fatal(err)
			}
			part.Committed(c)
			return puts, dels
		}
		apply(events.Event{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1},
			events.Event{Kind: events.GroupCreated, App: app, Group: "g", User: "ann", Members: []string{"ben"}})
		if o := apply(read)[0]; o != events.OutcomeParked {
			t.Fatalf("the receipt is %v", o)
		}
		wantDels := 0
		if between {
			if puts, dels := checkpoint(); puts != 1 || dels != 0 {
				t.Errorf("a parked receipt is set %d and removed %d times", puts, dels)
			}
			wantDels = 1
		}
		apply(sent)
		if puts, dels := checkpoint(); puts != 0 || dels != wantDels {
			t.Errorf("with a checkpoint between: %v; set %d and removed %d times, not 0 and %d", between, puts, dels, wantDels)
		}
	}
}
