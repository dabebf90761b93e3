package projections_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// TestTakenMessagesAreTheState follows a fold with next to no cache by what it says has changed, as the sink of an outside store does,
// and compares with one that is asked once, at the end.
func TestTakenMessagesAreTheState(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		straight, f := newFold(t, memory{}, 0), newFold(t, memory{}, rapid.IntRange(1, 6000).Draw(t, "cache"))
		for _, x := range []*fold{straight, f} {
			x.options.KeepFacts = true
			x.open()
		}
		kept := map[string]projections.AppMessage{}
		take := func() {
			n := f.part.ChangedMessages()
			taken := f.part.TakeMessages(nil)
			if len(taken) != n || f.part.ChangedMessages() != 0 {
				t.Fatalf("%d messages changed, %d were taken, %d are left", n, len(taken), f.part.ChangedMessages())
			}
			for _, m := range taken {
				kept[messageName(m)] = m
			}
		}
		for _, e := range log {
			straight.apply(e)
			f.apply(e)
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0, 1, 2:
				take()
			case 3:
				take() // what is committed is not folded again
				f.commit()
			case 4:
				f.crash()
			}
		}
		take()
		want := straight.part.TakeMessages(nil)
		for _, m := range want {
			if got := kept[messageName(m)]; got != m {
				t.Fatalf("taken %+v\nstate %+v", got, m)
			}
		}
		if len(kept) != len(want) {
			t.Fatalf("%d messages were taken; %d there are", len(kept), len(want))
		}
		f.commitAll()
		_, _ = f.part.Message("o#a", "no such message") // lets go of what is committed
		if counted, actual := f.part.CacheSize(); counted != actual || actual > f.options.CacheBytes {
			t.Fatalf("counted %d bytes, cached %d, of %d", counted, actual, f.options.CacheBytes)
		}
	})
}

// messageName names a message: in a single chat one user may send what the other one sent, too.
func messageName(m projections.AppMessage) string {
	return fmt.Sprintf("%q %q %q %q %q", m.App, m.Group, m.From, m.To, m.ID)
}
