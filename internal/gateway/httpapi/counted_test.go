package httpapi

import (
	"fmt"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// TestNamesThatAreNotKept: of a message whose readers are counted everybody who may see it is told
// the numbers, and that there are no names.
func TestNamesThatAreNotKept(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	m := h.state.messages[in(testApp, "m1")]
	m.CountsOnly = true
	h.state.messages[in(testApp, "m1")] = m
	for _, token := range []string{"", h.token(m.From)} {
		a := h.want(request{method: "GET", path: base + "/messages/m1", token: token}, 200, "")
		if a.field(t, "counts_only") != true || a.field(t, "read") != 2.0 {
			t.Errorf("got %s", a.body)
		}
		h.want(request{method: "GET", path: base + "/messages/m1/readers", token: token}, 409, "names_not_kept")
		h.want(request{method: "GET", path: base + "/messages/m1/nonreaders?left=exclude", token: token}, 409, "names_not_kept")
	}
	h.want(request{method: "GET", path: base + "/messages/m1/readers", token: h.token("stranger")}, 404, "message_not_found")

	c := h.openStream(m.From, "")
	h.notify.Push([]projections.Effect{{
		App: testApp, To: m.From, Kind: events.MessageRead, Group: "g1", Message: "m1", At: sentAt, Count: 2, Eligible: 4, Sequence: 8,
	}})
	if got := c.want("read", "StreamRead"); fmt.Sprint(got.data) != "map[count:2 eligible:4 group:g1 message:m1 read_at:2026-03-01T12:00:00.123Z]" {
		t.Errorf("told %v", got.data)
	}
}

// TestWhoHasLeftIsLeftOut of numbers and lists, where that is asked for.
func TestWhoHasLeftIsLeftOut(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.left = map[string]bool{"carol": true, "erin": true}
	get := func(path string) string {
		return string(h.want(request{method: "GET", path: base + "/messages/m1" + path}, 200, "").body)
	}
	if plain := get(""); get("?left=include") != plain || get("?left=exclude") == plain {
		t.Errorf("got %s", plain)
	}
	a := h.want(request{method: "GET", path: base + "/messages/m1?left=exclude"}, 200, "")
	if a.field(t, "eligible") != 2.0 || a.field(t, "read") != 1.0 || a.field(t, "delivered") != 1.0 {
		t.Errorf("got %s", a.body)
	}
	if got := get("/nonreaders?left=exclude"); got != `{"total":1,"users":["dave"],"next_cursor":""}`+"\n" {
		t.Errorf("got %s", got)
	}
	a = h.want(request{method: "GET", path: base + "/messages/m1/readers?left=exclude"}, 200, "")
	if list := a.field(t, "readers").([]any); a.field(t, "total") != 1.0 || list[0].(map[string]any)["user"] != "bob" {
		t.Errorf("got %s", a.body)
	}
	for _, body := range []string{`{"ids":["m1"]}`, `{"ids":["m1"],"group":"g1"}`, `{"messages":[{"id":"m1","group":"g1"}]}`} {
		a := h.want(request{method: "POST", path: base + "/messages:counts?left=exclude", body: body}, 200, "")
		if a.field(t, "counts", "m1", "eligible") != 2.0 || a.field(t, "counts", "m1", "read") != 1.0 {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	for _, path := range []string{"/messages/m1?left=yes", "/messages/m1/readers?left=", "/messages/m1/nonreaders?left=excluded"} {
		h.want(request{method: "GET", path: base + path, wrong: true}, 400, "invalid_request")
	}
	h.want(request{method: "POST", path: base + "/messages:counts?left=true", body: `{"ids":["m1"]}`, wrong: true}, 400, "invalid_request")
}
