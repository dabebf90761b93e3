package projections_test

import (
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// TestSingleChatsNameNoGroup looks at every rejection of a receipt in a single chat, and at what is
// told of a conversation read that reads nothing.
func TestSingleChatsNameNoGroup(t *testing.T) {
	part, err := projections.Open(0, memory{}, projections.Options{
		Online: func(_, _ string) bool { return true }, Limits: projections.Limits{Parked: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	apply := func(at int64, e events.Event) events.Outcome {
		seq++
		e.App, e.Peer = "o#a", map[string]string{"ann": "ben", "ben": "ann"}[e.User]
		var b events.Batch
		b.SetEvents([]events.Event{e})
		outcomes, err := part.Apply(projections.Decoded{Sequence: seq, At: at, Batch: &b})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	settings := events.DefaultSettings()
	apply(1, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	for _, id := range []string{"gone", "old", "m"} {
		apply(1, events.Event{Kind: events.MessageSent, User: "ann", Message: id})
	}
	apply(1, events.Event{Kind: events.MessageRecalled, User: "ann", Message: "gone"})
	late := 1 + settings.SingleReceipts.Validity.Milliseconds()
	for _, kind := range []events.Kind{events.MessageDelivered, events.MessageRead} {
		for _, e := range []events.Event{{Message: "gone"}, {Message: "none", Strict: true}, {Message: "old"}} {
			e.Kind, e.User = kind, "ben"
			if o := apply(late+1, e); o.Reason() != "message not found" {
				t.Errorf("%v of %q: %v %q", kind, e.Message, o, o.Reason())
			}
		}
	}
	for _, id := range []string{"early", "later"} {
		apply(late+1, events.Event{Kind: events.MessageRead, User: "ben", Message: id})
	}
	list := part.Rejections("o#a", 100)
	if len(list) != 7 || list[0].Message != "early" {
		t.Fatalf("%d rejections, the last of %q", len(list), list[0].Message)
	}
	for _, r := range list {
		if strings.Contains(r.Outcome.Reason(), "group") {
			t.Errorf("%v of %q: %q", r.Kind, r.Message, r.Outcome.Reason())
		}
	}

	chat := func(user string) (applied bool, told int) {
		o := apply(late+1, events.Event{Kind: events.ConversationRead, User: user})
		for _, e := range part.TakeEffects(nil) {
			if !e.Own { // the reader's devices are told anyway
				told++
			}
		}
		return o == events.OutcomeApplied, told
	}
	part.TakeEffects(nil)
	for _, user := range []string{"ann", "ben"} { // only ann has sent, and that is too long ago
		applied, told := chat(user)
		s, _, err := part.Summary("o#a", map[string]string{"ann": "ben", "ben": "ann"}[user], "")
		if !applied || told != 0 || err != nil || len(s.Items) != 0 {
			t.Errorf("%s reads nothing: %v, %d told, %v, %v", user, applied, told, s.Items, err)
		}
	}
	apply(late+1, events.Event{Kind: events.MessageSent, User: "ann", Message: "new"})
	if applied, told := chat("ben"); !applied || told != 1 {
		t.Errorf("ben reads a message: %v, %d told", applied, told)
	}
}
