package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/projections"
)

func TestConversations(t *testing.T) {
	h := newHarness(t)
	h.state.conversations[in(testApp, "bob")] = []projections.ConversationView{
		{Group: "g1", Unread: 3, LastReadAt: sentAt}, {Peer: "alice"},
	}
	want := `{"conversations":[{"group":"g1","unread":3,"last_read_at":"2026-03-01T12:00:00.123Z"},{"peer":"alice","unread":0,"last_read_at":null}],"total_unread":3,"next_cursor":""}` + "\n"
	path := base + "/users/bob/conversations"
	for _, token := range []string{"", h.token("bob")} {
		if a := h.want(request{method: "GET", path: path, token: token}, 200, ""); string(a.body) != want {
			t.Errorf("got %s", a.body)
		}
	}
	h.want(request{method: "GET", path: path, token: h.token("alice")}, 403, "forbidden")
	if a := h.want(request{method: "GET", path: base + "/users/nobody/conversations"}, 200, ""); string(a.body) != `{"conversations":[],"total_unread":0,"next_cursor":""}`+"\n" {
		t.Errorf("got %s", a.body)
	}
	for query, code := range map[string]string{
		"unread=yes": "invalid_request", "limit=0": "invalid_request", "limit=1001": "invalid_request",
		"cursor=" + h.api.pageCursor(listReaders, 1): "invalid_cursor", "cursor=" + h.api.placeCursor(listConversations, "x1"): "invalid_cursor",
		"cursor=" + h.api.placeCursor(listConversations, "g"): "invalid_cursor", "cursor=Yw": "invalid_cursor",
	} {
		h.want(request{method: "GET", path: path + "?" + query, wrong: true}, 400, code)
	}
}

// TestPagesOfConversations: every page has the totals of all, and a page begins where the one
// before ended, although conversations come and go in between.
func TestPagesOfConversations(t *testing.T) {
	h := newHarness(t)
	var all []projections.ConversationView
	unread, total := 0, 0
	for i := range 2500 {
		v := projections.ConversationView{Group: fmt.Sprintf("g%05d", i), Unread: i % 3, Marked: i%5 == 0}
		if i >= 2000 {
			v.Group, v.Peer = "", fmt.Sprintf("p%05d", i)
		}
		if v.Unread > 0 || v.Marked {
			unread++
		}
		total += v.Unread
		all = append(all, v)
	}
	for query, want := range map[string]int{"": len(all), "&unread=true": unread, "&unread=false": len(all)} {
		key := in(testApp, "bob")
		h.state.conversations[key] = all
		var names []string
		for cursor := ""; ; {
			a := h.want(request{method: "GET", path: base + "/users/bob/conversations?limit=1000&cursor=" + cursor + query}, 200, "")
			if got := a.field(t, "total_unread"); got != float64(total) {
				t.Fatalf("total unread %v, want %d", got, total)
			}
			for _, x := range a.field(t, "conversations").([]any) {
				c := x.(map[string]any)
				names = append(names, fmt.Sprint(c["group"], c["peer"]))
			}
			if cursor = a.field(t, "next_cursor").(string); cursor == "" {
				break
			}
			// One that was listed is left, and one before it is joined.
			changed := slices.Delete(slices.Clone(h.state.conversations[key]), 0, 1)
			h.state.conversations[key] = slices.Insert(changed, 0, projections.ConversationView{Group: "a" + names[0]})
			total = 0
			for _, v := range h.state.conversations[key] {
				total += v.Unread
			}
		}
		if len(names) != want || len(slices.Compact(slices.Sorted(slices.Values(names)))) != want {
			t.Errorf("%q: %d conversations, want %d", query, len(names), want)
		}
		total = 0
		for _, v := range all {
			total += v.Unread
		}
	}
	if a := h.want(request{method: "GET", path: base + "/users/bob/conversations"}, 200, ""); strings.Count(string(a.body), `"unread"`) != defaultLimit {
		t.Errorf("by default: %.200s", a.body)
	}
}
