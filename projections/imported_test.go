package projections_test

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// past makes an event one that is imported, of a time.
func past(at int64, e events.Event) events.Event {
	e.Imported, e.Time = true, at
	return e
}

// TestImportTellsNobody: of what is imported nobody is told, online or later; and what was parked
// for an imported message is read when it was sent.
func TestImportTellsNobody(t *testing.T) {
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	part := open(t, memory{}, projections.Options{Online: func(_, _ string) bool { return true }})
	group, chat := theMessage, events.Conversation{App: theApp, A: "ann", B: "ben"}
	fold := func(e events.Event) {
		t.Helper()
		if o := foldEach(t, part, 10_000, e); o.Rejected() {
			t.Fatalf("%s: %s", e.Kind, o.Reason())
		}
	}
	fold(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	fold(events.Event{Kind: events.ConversationRead, User: "ben", Peer: "ann", Message: "m2"})
	fold(events.Event{Kind: events.MessageDelivered, User: "ben", Peer: "ann", Message: "m1"})
	for _, e := range []events.Event{
		past(1000, events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}}),
		past(2000, events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true}),
		past(3000, events.Event{Kind: events.MessageRead, Group: "g", User: "ben", Message: "m"}),
		past(4000, events.Event{Kind: events.ConversationRead, Group: "g", User: "cleo"}),
		past(2000, events.Event{Kind: events.MessageSent, User: "ann", Peer: "ben", Message: "m1"}),
		past(4000, events.Event{Kind: events.MessageSent, User: "ann", Peer: "ben", Message: "m2"}),
	} {
		fold(e)
	}
	if told := part.TakeEffects(nil); len(told) > 0 {
		t.Errorf("told: %+v", told)
	}
	if s, _, err := part.Summary(theApp, "ann", ""); err != nil || len(s.Items) > 0 {
		t.Errorf("summary %+v, %v", s, err)
	}
	for id, want := range map[string]projections.Reader{"m1": {User: "ben", ReadAt: 4000}, "m2": {User: "ben", ReadAt: 4000}} {
		if page, err := part.Readers(chat, id, 0, 9); err != nil || !slices.Equal(page.Readers, []projections.Reader{want}) {
			t.Errorf("readers of %s: %+v, %v", id, page, err)
		}
	}
	if m, err := part.MessageIn(chat, "m1", ""); err != nil || m.SentAt != 2000 || m.DeliveredAt != 2000 {
		t.Errorf("m1: %+v, %v", m, err)
	}
	if all, err := part.Conversations(theApp, "cleo"); err != nil || len(all) != 1 || all[0].LastReadAt != 4000 {
		t.Errorf("conversations of cleo: %+v, %v", all, err)
	}
	fold(events.Event{Kind: events.MessageRead, Group: "g", User: "cleo", Message: "m"})
	if told := part.TakeEffects(nil); len(told) != 2 || told[1].Count != 2 {
		t.Errorf("told of what comes later: %+v", told)
	}
	if page, err := part.Readers(group, "m", 0, 9); err != nil || page.Total != 2 || page.Readers[0].ReadAt != 3000 || page.Readers[1].ReadAt != 10_000 {
		t.Errorf("readers of m: %+v, %v", page, err)
	}
}
