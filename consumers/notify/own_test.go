package notify

import (
	"testing"
	"testing/synctest"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// TestOwnReadsAreMergedByConversation: the latest of each conversation counts, and is told last, so
// that a device ends with the unread count and the mark that hold; what the user did
// moves no cursor of what others did, and is not taken for that.
func TestOwnReadsAreMergedByConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Options{})
		s := subscribe(t, n, "alice")
		own := func(kind events.Kind, group, peer, message, id string, unread int) projections.Effect {
			return projections.Effect{
				Kind: kind, App: "o#a", To: "alice", Own: true, Group: group, Peer: peer, Message: message, Reader: "alice",
				Unread: unread, EventID: id, At: 5, Sequence: 9,
			}
		}
		n.Push([]projections.Effect{
			own(events.MessageRead, "", "bob", "m", "", 2), own(events.MessageRead, "", "cleo", "m", "", 3),
			own(events.ConversationRead, "g", "", "", "e1", 1), own(events.ConversationRead, "", "bob", "", "e2", 0),
			own(events.ConversationMarkedUnread, "h", "", "", "", 1), own(events.ConversationRead, "h", "", "", "e4", 0), own(events.ConversationMarkedUnread, "h", "", "", "", 0),
			own(events.ConversationRead, "g", "", "", "e3", 0),
			{Kind: events.ConversationRead, App: "o#a", To: "alice", Reader: "bob", At: 6, Sequence: 3},
			own(events.MessageRead, "", "dan", "m", "", 1),
		})
		push := next(t, s)
		type told struct {
			kind                    events.Kind
			own                     bool
			group, peer, reader, id string
			unread                  int
		}
		var got []told
		add := func(push Push) {
			for _, n := range push.Notifications {
				got = append(got, told{n.Kind, n.Own, n.Group, n.Peer, n.Reader, n.EventID, n.Unread})
			}
		}
		add(push)
		if push.Upto != nil {
			t.Errorf("the cursor moves to %v while reads wait", push.Upto)
		}
		push = next(t, s)
		add(push)
		want := []told{
			{events.MessageRead, true, "", "bob", "alice", "", 2}, {events.MessageRead, true, "", "cleo", "alice", "", 3},
			{events.ConversationRead, true, "", "bob", "alice", "e2", 0},
			{events.ConversationRead, true, "h", "", "alice", "e4", 0}, {events.ConversationMarkedUnread, true, "h", "", "alice", "", 0},
			{events.ConversationRead, true, "g", "", "alice", "e3", 0},
			{events.ConversationRead, false, "", "", "bob", "", 0},
			{events.MessageRead, true, "", "dan", "alice", "", 1},
		}
		if len(got) != len(want) {
			t.Fatalf("told %+v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d: told %+v, want %+v", i, got[i], want[i])
			}
		}
		if push.Upto[0] != 3 {
			t.Errorf("the cursor moves to %v: what alice did herself is in no summary", push.Upto)
		}
	})
}

// TestSubscribersAreNotWokenForNothing: a subscriber that does not ask for what its user did is not
// told of it, neither at once nor once the flush interval is over, and is not woken.
func TestSubscribersAreNotWokenForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Options{})
		s := n.Subscribe("o#a", "alice", events.ConversationRead)
		defer s.Close()
		own := projections.Effect{Kind: events.MessageRead, App: "o#a", To: "alice", Own: true, Peer: "bob", Message: "m", Reader: "alice", At: 5, Sequence: 9}
		n.Push([]projections.Effect{own})
		select {
		case <-s.Wake():
			t.Error("woken for a read of the user's own")
		default:
		}
		if push, wait, err := s.Poll(); len(push.Notifications) > 0 || wait > 0 || err != nil {
			t.Errorf("poll: %+v, %v, %v; nothing waits", push, wait, err)
		}
		own.Kind, own.Message = events.ConversationRead, ""
		n.Push([]projections.Effect{own})
		if push := next(t, s); len(push.Notifications) != 1 || push.Notifications[0].Kind != events.ConversationRead {
			t.Errorf("got %+v, want the conversation read", push)
		}
	})
}
