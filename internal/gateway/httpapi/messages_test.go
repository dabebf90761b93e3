package httpapi

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const sentAt = 1772366400123 // 2026-03-01T12:00:00.123Z

// withMessages fills the state: alice sent m1 to a group of four, of whom two read it, and s1 to
// bob.
func withMessages(h *harness) {
	h.state.messages[in(testApp, "m1")] = projections.Message{
		ID: "m1", From: "alice", Group: "g1", SentAt: sentAt, ReceiptRequested: true,
		Counts: projections.Counts{Eligible: 4, Delivered: 2, Read: 2}, FirstReadAt: sentAt + 1000, LastReadAt: sentAt + 2000,
	}
	h.state.messages[in(testApp, "s1")] = projections.Message{
		ID: "s1", From: "alice", To: "bob", SentAt: sentAt, Counts: projections.Counts{Eligible: 1},
	}
	h.state.readers[in(testApp, "m1")] = []projections.Reader{
		{User: "bob", ReadAt: sentAt + 1000, Content: "<b>seen</b>"}, {User: "carol", ReadAt: sentAt + 2000},
	}
	h.state.nonReaders[in(testApp, "m1")] = []string{"dave", "erin"}
	for _, user := range []string{"alice", "bob", "carol", "dave", "erin"} {
		h.state.members[in(testApp, "g1", user)] = true
	}
}

func TestGetMessage(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	group := h.want(request{method: "GET", path: base + "/messages/m1"}, 200, "")
	want := `{"id":"m1","from":"alice","group":"g1","sent_at":"2026-03-01T12:00:00.123Z","receipt_requested":true,"recalled":false,` +
		`"eligible":4,"delivered":2,"read":2,"first_read_at":"2026-03-01T12:00:01.123Z","last_read_at":"2026-03-01T12:00:02.123Z"}` + "\n"
	if string(group.body) != want {
		t.Errorf("got  %s\nwant %s", group.body, want)
	}
	single := h.want(request{method: "GET", path: base + "/messages/s1"}, 200, "")
	if single.field(t, "to") != "bob" || single.field(t, "first_read_at") != nil || strings.Contains(string(single.body), `"group"`) {
		t.Errorf("got %s", single.body)
	}
	h.want(request{method: "GET", path: base + "/messages/unknown"}, 404, "message_not_found")
}

func TestIDsOfAnyScriptInPaths(t *testing.T) {
	h := newHarness(t)
	for _, id := range []string{"a/b", "消息 1", "50%", "a?b#c", ".", "..", "a//b", "x;y", strings.Repeat("é", events.MaxIDBytes/2)} {
		h.state.messages[in(testApp, id)] = projections.Message{ID: id, From: "alice", To: "bob", SentAt: sentAt}
		path := strings.NewReplacer(".", "%2E").Replace(url.PathEscape(id))
		r := request{method: "GET", path: base + "/messages/" + path}.build(t, h.server.URL)
		res, err := h.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%q: %d", id, res.StatusCode)
		}
	}
}

func TestReadersInOrderAndPages(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	a := h.want(request{method: "GET", path: base + "/messages/m1/readers"}, 200, "")
	want := `{"total":2,"readers":[{"user":"bob","read_at":"2026-03-01T12:00:01.123Z","content":"\u003cb\u003eseen\u003c/b\u003e"},` +
		`{"user":"carol","read_at":"2026-03-01T12:00:02.123Z"}],"next_cursor":""}` + "\n"
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}

	var all []projections.Reader
	for i := range 25 {
		all = append(all, projections.Reader{User: fmt.Sprint("u", i), ReadAt: sentAt + int64(i)})
	}
	h.state.readers[in(testApp, "m1")] = all
	var users []string
	pages, cursor := 0, ""
	for {
		a := h.want(request{method: "GET", path: base + "/messages/m1/readers?limit=10&cursor=" + cursor}, 200, "")
		pages++
		for _, r := range a.field(t, "readers").([]any) {
			users = append(users, r.(map[string]any)["user"].(string))
		}
		if cursor = a.field(t, "next_cursor").(string); cursor == "" {
			break
		}
	}
	if pages != 3 || len(users) != 25 || users[24] != "u24" {
		t.Errorf("%d pages: %v", pages, users)
	}
}

func TestNonReadersPages(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	first := h.want(request{method: "GET", path: base + "/messages/m1/nonreaders?limit=1"}, 200, "")
	cursor, _ := first.field(t, "next_cursor").(string)
	second := h.want(request{method: "GET", path: base + "/messages/m1/nonreaders?limit=1&cursor=" + cursor}, 200, "")
	if string(first.body) != `{"total":2,"users":["dave"],"next_cursor":"`+cursor+`"}`+"\n" || string(second.body) != `{"total":2,"users":["erin"],"next_cursor":""}`+"\n" {
		t.Errorf("got %s then %s", first.body, second.body)
	}
	h.state.nonReaders[in(testApp, "m1")] = nil
	if a := h.want(request{method: "GET", path: base + "/messages/m1/nonreaders"}, 200, ""); string(a.body) != `{"total":0,"users":[],"next_cursor":""}`+"\n" {
		t.Errorf("got %s", a.body)
	}
}

func TestCountsLeaveOutUnknownIDs(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	a := h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["m1","unknown","s1","m1"]}`}, 200, "")
	want := `{"counts":{"m1":{"eligible":4,"delivered":2,"read":2},"s1":{"eligible":1,"delivered":0,"read":0}}}` + "\n"
	if string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":[]}`}, 200, "")

	ids := `"` + strings.Join(slices.Repeat([]string{"m"}, 1000), `","`) + `"`
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":[` + ids + `]}`}, 200, "")
	for name, body := range map[string]string{
		"too many": `{"ids":[` + ids + `,"m"]}`, "none": "", "missing": `{}`, "null": `{"ids":null}`, "unknown field": `{"ids":[],"x":1}`, "not a list": `{"ids":"m1"}`,
		"empty id": `{"ids":["m1",""]}`, "long id": `{"ids":["` + strings.Repeat("x", 129) + `"]}`, "control": `{"ids":["a\u0000b"]}`, "twice": `{"ids":[],"ids":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			h.want(request{method: "POST", path: base + "/messages:counts", body: body, wrong: true}, 400, "invalid_request")
		})
	}
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["` + strings.Repeat("x", maxCountBytes) + `"]}`, wrong: true}, 413, "too_large")
}

// TestWhoMaySeeAMessage goes through every caller and every call about a message.
func TestWhoMaySeeAMessage(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.settings["acme#other"] = events.DefaultSettings()
	otherApp, _, err := h.tokens.Mint("acme#other", "alice", 1e12)
	if err != nil {
		t.Fatal(err)
	}
	calls := func(id string) []request {
		return []request{
			{method: "GET", path: base + "/messages/" + id},
			{method: "GET", path: base + "/messages/" + id + "/readers"},
			{method: "GET", path: base + "/messages/" + id + "/nonreaders"},
			{method: "POST", path: base + "/messages:counts", body: `{"ids":["` + id + `"]}`},
		}
	}
	for _, c := range []struct {
		visibility, id, who, token string
		status                     int
	}{
		{events.VisibleSender, "m1", "admin", "", 200},
		{events.VisibleSender, "m1", "sender", h.token("alice"), 200},
		{events.VisibleSender, "m1", "reader", h.token("bob"), 404},
		{events.VisibleSender, "m1", "outsider", h.token("mallory"), 404},
		{events.VisibleSender, "m1", "another app's sender", otherApp, 404},
		{events.VisibleMembers, "m1", "reader", h.token("bob"), 200},
		{events.VisibleMembers, "m1", "outsider", h.token("mallory"), 404},
		{events.VisibleMembers, "m1", "another app's sender", otherApp, 404},
		{events.VisibleMembers, "s1", "sender", h.token("alice"), 200},
		{events.VisibleMembers, "s1", "peer", h.token("bob"), 404},
	} {
		settings := events.DefaultSettings()
		settings.GroupReceipts.Visibility = c.visibility
		h.state.settings[testApp] = settings
		for _, rq := range calls(c.id) {
			rq.token = c.token
			want := c.status
			if rq.method == "POST" && want == 404 && c.token != otherApp {
				want = 200 // and the counts are none
				if a := h.do(rq); strings.TrimSpace(string(a.body)) != `{"counts":{}}` {
					t.Errorf("counts for %s: %s", c.who, a.body)
				}
			}
			if a := h.do(rq); a.status != want {
				t.Errorf("visible to %s, %s: %s %s: %d %s, want %d", c.visibility, c.who, rq.method, rq.path, a.status, a.body, c.status)
			}
		}
	}
	// What may not be seen is left out like what is unknown.
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["unknown","s1","m1"]}`, token: h.token("alice")}, 200, "")
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["m1","s1"]}`, token: h.token("bob")}, 200, "")
	h.want(request{method: "GET", path: base + "/messages/unknown", token: h.token("bob")}, 404, "message_not_found")
}

func TestPageCursorsRefused(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for name, cursor := range map[string]string{
		"garbage": "%25%25", "of the other list": h.api.pageCursor(listNonReaders, 1), "cut": h.api.pageCursor(listReaders, 100_000)[:14], "longer": h.api.pageCursor(listReaders, 1) + "AA",
		"too far": h.api.pageCursor(listReaders, events.MaxGroupMembers+1), "a number": "10", "very long": strings.Repeat("c", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			h.want(request{method: "GET", path: base + "/messages/m1/readers?cursor=" + cursor}, 400, "invalid_cursor")
		})
	}
	for _, limit := range []string{"0", "-1", "1001", "many", "1.5", "99999999999999999999"} {
		for _, path := range []string{"/messages/m1/readers", "/messages/m1/nonreaders", "/rejections"} {
			h.want(request{method: "GET", path: base + path + "?limit=" + limit, wrong: true}, 400, "invalid_request")
		}
	}
}

func TestStateFailureIsOursAndLogged(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.failure = errors.New("disk on fire")
	a := h.want(request{method: "GET", path: base + "/messages/m1"}, 500, "internal")
	if strings.Contains(string(a.body), "fire") {
		t.Errorf("the answer shows what is inside: %s", a.body)
	}
	if logged := h.logged.String(); !strings.Contains(logged, "disk on fire") || !strings.Contains(logged, a.header.Get("X-Request-Id")) {
		t.Errorf("logged %s", logged)
	}
}
