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
	for body, problem := range map[string]string{
		`{"messages":["m1"]}`: "messages/0: not an object", `{"ids":"m1"}`: "ids: not an array", `{"messages":[{"id":1}]}`: "messages/0/id: not a string",
		`{"ids":["m1",null]}`: "ids/1: not a string", `{"ids":[null]}`: "ids/0: not a string", `{"messages":[null]}`: "messages/0: not an object",
		`{"messages":[{"id":"m1","users":["ann",null]}]}`: "messages/0/users/1: not a string", `{"ids":["m1"],"users":[1,"ann"]}`: "users/0: not a string",
		`{"ids":["m1"],"users":null}`: "users: not an array",
	} {
		a := h.want(request{method: "POST", path: base + "/messages:counts", body: body, wrong: true}, 400, "invalid_request")
		if got := a.field(t, "error", "message"); got != problem {
			t.Errorf("%s: %v, want %s", body, got, problem)
		}
	}
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["` + strings.Repeat("x", maxCountBytes) + `"]}`, wrong: true}, 413, "too_large")
}

// about are the calls about a message, each with a query that names its conversation, if any.
func about(id, query, body string) []request {
	path := base + "/messages/" + id
	if query != "" {
		query = "?" + query
	}
	return []request{
		{method: "GET", path: path + query},
		{method: "GET", path: path + "/readers" + query},
		{method: "GET", path: path + "/nonreaders" + query},
		{method: "POST", path: base + "/messages:counts", body: `{"ids":["` + id + `"]` + body + `}`},
	}
}

// TestWhoMaySeeAMessage goes through every caller and every call about a message. Whoever may not
// see it gets the answer for a message that is not there, byte for byte.
func TestWhoMaySeeAMessage(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.late[in(testApp, "g1", "late")] = true
	h.state.settings["acme#other"] = events.DefaultSettings()
	otherApp, _, err := h.tokens.Mint("acme#other", "alice", 1e12)
	if err != nil {
		t.Fatal(err)
	}
	const no, yes, noApp = "no", "yes", "no app"
	for _, c := range []struct{ visibility, id, who, token, may string }{
		{events.VisibleSender, "m1", "admin", "", yes},
		{events.VisibleSender, "m1", "sender", h.token("alice"), yes},
		{events.VisibleSender, "m1", "reader", h.token("bob"), no},
		{events.VisibleSender, "m1", "outsider", h.token("mallory"), no},
		{events.VisibleSender, "m1", "another app's sender", otherApp, noApp},
		{events.VisibleMembers, "m1", "reader", h.token("bob"), yes},
		{events.VisibleMembers, "m1", "who joined later", h.token("late"), no},
		{events.VisibleMembers, "m1", "outsider", h.token("mallory"), no},
		{events.VisibleMembers, "m1", "another app's sender", otherApp, noApp},
		{events.VisibleMembers, "s1", "sender", h.token("alice"), yes},
		{events.VisibleMembers, "s1", "peer", h.token("bob"), no},
	} {
		settings := events.DefaultSettings()
		settings.GroupReceipts.Visibility = c.visibility
		h.state.settings[testApp] = settings
		named := map[string]string{"": "", "group=g1": `,"group":"g1"`}
		if c.id == "s1" {
			named = map[string]string{"": "", "users=bob,alice": `,"users":"bob,alice"`, "users=alice&users=bob": `,"users":["alice","bob"]`}
		}
		for query, body := range named {
			unknown := about("unknown", query, body)
			for i, rq := range about(c.id, query, body) {
				rq.token, unknown[i].token = c.token, c.token
				a, b := h.do(rq), h.do(unknown[i])
				same := a.status == b.status && string(a.body) == string(b.body) && len(a.header) == len(b.header)
				switch c.may {
				case yes:
					if a.status != 200 || same {
						t.Errorf("visible to %s, %s: %s %s: %d %s", c.visibility, c.who, rq.method, rq.path, a.status, a.body)
					}
				case no:
					if !same {
						t.Errorf("visible to %s, %s: %s %s: %d %s; of one that is not there: %d %s", c.visibility, c.who, rq.method, rq.path, a.status, a.body, b.status, b.body)
					}
				case noApp:
					if a.status != 404 || a.code(t) != "app_not_found" {
						t.Errorf("%s: %d %s", c.who, a.status, a.body)
					}
				}
			}
		}
	}
	// One that may not be seen stands in nobody's way.
	settings := events.DefaultSettings()
	settings.GroupReceipts.Visibility = events.VisibleMembers
	h.state.settings[testApp] = settings
	a := h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["s1","unknown","m1"]}`, token: h.token("bob")}, 200, "")
	if want := `{"counts":{"m1":{"eligible":4,"delivered":2,"read":2}}}` + "\n"; string(a.body) != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
}

// TestOneIDInManyChats is id 7 in 200 chats, each of another author, and one author with two.
func TestOneIDInManyChats(t *testing.T) {
	h := newHarness(t)
	for i := range 200 {
		m := projections.Message{ID: "7", From: fmt.Sprint("author", i), Group: fmt.Sprintf("g%03d", i), SentAt: sentAt, Counts: projections.Counts{Eligible: i}}
		if i >= 100 {
			m.Group, m.To = "", "reader"
		}
		h.state.messages[in(testApp, "7", fmt.Sprint(i))] = m
	}
	h.state.messages[in(testApp, "7", "again")] = projections.Message{ID: "7", From: "author0", To: "author1", SentAt: sentAt, Counts: projections.Counts{Eligible: 1}}
	counts := base + "/messages:counts"
	for i := 2; i < 200; i++ {
		token := h.token(fmt.Sprint("author", i))
		for _, rq := range about("7", "", "") {
			rq.token = token
			h.want(rq, 200, "")
		}
		a := h.want(request{method: "POST", path: counts, body: `{"ids":["7","8"]}`, token: token}, 200, "")
		if got := a.field(t, "counts", "7", "eligible"); got != float64(i) {
			t.Errorf("author %d is told of another's: %s", i, a.body)
		}
	}
	// For the admin it is ambiguous, for the author of two too, and says of which.
	for token, want := range map[string]int{"": 201, h.token("author0"): 2} {
		for _, rq := range about("7", "", "") {
			rq.token = token
			a := h.want(rq, 409, "ambiguous")
			if list, _ := a.field(t, "error", "conversations").([]any); len(list) != want || a.field(t, "error", "more") != nil {
				t.Errorf("%s: %d conversations, want %d", rq.path, len(list), want)
			}
		}
	}
	a := h.want(request{method: "GET", path: base + "/messages/7", token: h.token("author0")}, 409, "ambiguous")
	want := `{"error":{"code":"ambiguous","message":"several conversations have a message with this id: name one of them by group, users or peer",` +
		`"conversations":[{"users":["author0","author1"]},{"group":"g000"}]}}` + "\n"
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	// Named, it is found by everybody whose it is.
	for query, body := range map[string]string{"group=g000": `,"group":"g000"`, "peer=author1": `,"peer":"author1"`, "users=author1,author0": `,"users":"author1,author0"`} {
		for _, rq := range about("7", query, body) {
			rq.token = h.token("author0")
			h.want(rq, 200, "")
		}
	}
	each := `{"messages":[{"id":"7","users":["author1","author0"]},{"id":"7","group":"g099"},{"id":"7","group":"none"},{"id":"9"}],"ids":["7"],"group":"g042"}`
	a = h.want(request{method: "POST", path: counts, body: each}, 200, "")
	want = `{"counts":{},"messages":[{"id":"7","users":["author0","author1"],"eligible":1,"delivered":0,"read":0},{"id":"7","group":"g099","eligible":99,"delivered":0,"read":0}]}` + "\n"
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	a = h.want(request{method: "POST", path: counts, body: `{"messages":[{"id":"7","group":"g099"}]}`}, 200, "")
	if got := a.field(t, "counts", "7", "eligible"); got != 99.0 {
		t.Errorf("got %s", a.body)
	}
	a = h.want(request{method: "POST", path: counts, body: `{"ids":["8","7"]}`, token: h.token("author0")}, 409, "ambiguous")
	if a.field(t, "error", "field") != "ids[1]" {
		t.Errorf("got %s", a.body)
	}
	a = h.want(request{method: "POST", path: counts, body: `{"messages":[{"id":"7"}]}`}, 409, "ambiguous")
	if a.field(t, "error", "field") != "messages[0]" {
		t.Errorf("got %s", a.body)
	}
}

func TestConversationsThatCannotBeMeant(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	alice := h.token("alice")
	for _, c := range []struct{ query, body, token, field string }{
		{"group=g1&peer=bob", `,"group":"g1","peer":"bob"`, alice, "group"},
		{"group=g1&users=alice,bob", `,"group":"g1","users":"alice,bob"`, "", "group"},
		{"group=", `,"group":""`, "", "group"},
		{"peer=bob", `,"peer":"bob"`, "", "peer"},
		{"peer=alice", `,"peer":"alice"`, alice, "peer"},
		{"peer=", `,"peer":""`, alice, "peer"},
		{"users=alice", `,"users":"alice"`, "", "users"},
		{"users=alice,alice", `,"users":["alice","alice"]`, "", "users"},
		{"users=a,b,c", `,"users":["a","b","c"]`, "", "users"},
		{"users=,b", `,"users":["","b"]`, "", "users"},
		{"users=", `,"users":""`, "", "users"},
	} {
		for _, rq := range about("m1", c.query, c.body) {
			rq.token, rq.wrong = c.token, true
			a := h.want(rq, 400, "invalid_request")
			if got := a.field(t, "error", "field"); got != c.field {
				t.Errorf("%s %s: field %v, want %s", rq.path, rq.body, got, c.field)
			}
		}
	}
	h.want(request{method: "GET", path: base + "/messages/m1?group=g1&group=g1", wrong: true}, 400, "invalid_request")
	for _, body := range []string{`{"ids":["m1"],"users":null}`, `{"ids":["m1"],"users":7}`, `{"messages":[{"group":"g1"}]}`, `{"messages":[{"id":"m1","x":1}]}`, `{"messages":null}`} {
		h.want(request{method: "POST", path: base + "/messages:counts", body: body, wrong: true}, 400, "invalid_request")
	}
	h.want(request{method: "GET", path: base + "/messages/m1?group=g2"}, 404, "message_not_found")
	h.want(request{method: "GET", path: base + "/messages/s1?group=g1"}, 404, "message_not_found")
}

func TestPageCursorsRefused(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for name, cursor := range map[string]string{
		"garbage": "%25%25", "of the other list": h.api.pageCursor(listNonReaders, 1), "cut": h.api.pageCursor(listReaders, 100_000)[:14], "longer": h.api.pageCursor(listReaders, 1) + "AA",
		"too far": h.api.pageCursor(listReaders, events.MaxEverMembers+1), "a number": "10", "very long": strings.Repeat("c", 1000),
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
