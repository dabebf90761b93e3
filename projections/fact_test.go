package projections_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// TestTakenMessagesAreTheState follows a fold with next to no cache by the changes it reports, as
// the sink of an external store does, and compares with one that is asked once, at the end.
func TestTakenMessagesAreTheState(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		latest := map[string]projections.AppMessage{}
		straight, f := followed(t, log, func(o *projections.Options) { o.TrackFacts = true }, func(f *fold) {
			n := f.part.ChangedMessages()
			taken := f.part.TakeMessages(nil)
			if len(taken) != n || f.part.ChangedMessages() != 0 {
				t.Fatalf("%d messages changed, %d were taken, %d are left", n, len(taken), f.part.ChangedMessages())
			}
			for _, m := range taken {
				latest[messageName(m)] = m
			}
		})
		want := straight.part.TakeMessages(nil)
		for _, m := range want {
			if got := latest[messageName(m)]; got != m {
				t.Fatalf("taken %+v\nstate %+v", got, m)
			}
		}
		if len(latest) != len(want) {
			t.Fatalf("%d messages were taken; %d there are", len(latest), len(want))
		}
		f.commitAll()
		_, _ = f.part.Message("o#a", "no such message") // evicts what is committed
		f.cacheIsBounded()
	})
}

// messageName names a message within all apps.
func messageName(m projections.AppMessage) string {
	return fmt.Sprintf("%q %q %q %q %q", m.App, m.Group, m.From, m.To, m.ID)
}
