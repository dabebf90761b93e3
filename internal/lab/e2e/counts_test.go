package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// TestCountsAndMarksOfUsers: over kill -9, a group above the limit has numbers and no names; a user
// who reads offline has read when they say; and they mark a conversation and take the mark away.
func TestCountsAndMarksOfUsers(t *testing.T) {
	s := startServer(t)
	s.must("PUT", appPath(chatApp), json.RawMessage(
		`{"group_receipts":{"enabled":true,"max_group_size":3,"above_limit":"counts"},"receipt_time":"reported","max_report_age":"1h"}`), nil)
	s.apply(chatApp,
		events.Event{Kind: events.GroupCreated, Group: "large", User: "ann", Members: []string{"ben", "cleo", "dan"}},
		events.Event{Kind: events.MessageSent, Group: "large", User: "ann", Message: "m", Receipt: true},
		events.Event{Kind: events.GroupCreated, Group: "small", User: "ann", Members: []string{"ben", "cleo"}},
		events.Event{Kind: events.MessageSent, Group: "small", User: "ann", Message: "n", Receipt: true})
	report := func(user, body, want string) {
		t.Helper()
		if status, text := s.as(user, "POST", "/users/"+user+"/receipts?wait=applied", body); status != 200 || !strings.Contains(text, `"outcome":"`+want+`"`) {
			t.Errorf("%s by %s: %d %s", body, user, status, text)
		}
	}
	before := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	time.Sleep(20 * time.Millisecond) // so that the clock has moved on
	report("cleo", `{"type":"message.read","message":"n","group":"small"}`, "applied")
	report("ben", fmt.Sprintf(`{"type":"message.read","message":"n","group":"small","time":%q}`, before), "applied")
	for _, outcome := range []string{"applied", "duplicate"} {
		report("ben", `{"type":"message.read","message":"m","group":"large"}`, outcome)
		s.kill()
		s.start()
	}
	if _, text := s.as("ann", "GET", "/messages/m?group=large", ""); !strings.Contains(text, `"counts_only":true`) || !strings.Contains(text, `"eligible":3,"delivered":1,"read":1`) {
		t.Errorf("counted: %s", text)
	}
	s.apply(chatApp, events.Event{Kind: events.GroupLeft, Group: "large", User: "ben"})
	if _, text := s.as("ann", "GET", "/messages/m?group=large&left=exclude", ""); !strings.Contains(text, `"eligible":2,"delivered":0,"read":0`) {
		t.Errorf("without ben: %s", text)
	}
	if status, text := s.as("ann", "GET", "/messages/m/readers?group=large", ""); status != 409 || !strings.Contains(text, `"names_not_kept"`) {
		t.Errorf("readers: %d %s", status, text)
	}
	if _, text := s.as("ann", "GET", "/messages/n/readers", ""); !strings.Contains(text, `[{"user":"ben","read_at":"`+before+`"},{"user":"cleo"`) {
		t.Errorf("who read offline at %s: %s", before, text)
	}

	report("cleo", `{"type":"conversation.read","group":"small"}`, "applied")
	for _, x := range []struct{ kind, outcome string }{
		{"conversation.marked_unread", "applied"}, {"conversation.marked_unread", "duplicate"},
		{"conversation.read", "applied"}, {"conversation.read", "duplicate"},
	} {
		report("cleo", `{"type":"`+x.kind+`","group":"small"}`, x.outcome)
		_, text := s.as("cleo", "GET", "/users/cleo/conversations", "")
		if marked := strings.Contains(text, `"marked_unread":true`); marked != (x.kind == "conversation.marked_unread") {
			t.Errorf("after %s: %s", x.kind, text)
		}
	}
}
