package httpapi

import (
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestSettingsOfAUser(t *testing.T) {
	h := newHarness(t)
	path, bob := base+"/users/bob/settings", h.token("bob")
	for _, x := range []struct{ method, token, body, want string }{
		{"GET", bob, "", `{"send_read_receipts":true,"send_delivery_receipts":true}`},
		{"PUT", bob, `{"send_read_receipts":false}`, `{"send_read_receipts":false,"send_delivery_receipts":true}`},
		{"PUT", "", `{"send_delivery_receipts":false}`, `{"send_read_receipts":false,"send_delivery_receipts":false}`},
		{"PUT", bob, `{}`, `{"send_read_receipts":false,"send_delivery_receipts":false}`},
		{"PUT", bob, `{"send_read_receipts":true}`, `{"send_read_receipts":true,"send_delivery_receipts":false}`},
		{"GET", "", "", `{"send_read_receipts":true,"send_delivery_receipts":false}`},
	} {
		if a := h.want(request{method: x.method, path: path, token: x.token, body: x.body}, 200, ""); string(a.body) != x.want+"\n" {
			t.Errorf("%s %s: %s", x.method, x.body, a.body)
		}
	}
	for body, problem := range map[string]string{
		`{"send_read_receipts":null}`: "send_read_receipts: null", `{"send_read_receipts":1}`: "send_read_receipts: neither true nor false",
		`{"send_receipts":true}`: "send_receipts: unknown field", `[]`: "body: not an object",
	} {
		a := h.want(request{method: "PUT", path: path, token: bob, body: body, wrong: true}, 400, "invalid_request")
		if !strings.Contains(string(a.body), problem) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	h.want(request{method: "PUT", path: path, token: h.token("alice"), body: `{}`}, 403, "forbidden")
}

func TestSettingsOfAConversation(t *testing.T) {
	h := newHarness(t)
	bob := h.token("bob")
	h.state.userSettings[in(testApp, "bob", "g1", "")] = projections.UserSettings{}
	h.state.userSettings[in(testApp, "bob", "", "alice")] = projections.UserSettings{}
	h.state.userSettings[in(testApp, "bob", "both", "")] = projections.UserSettings{}
	h.state.userSettings[in(testApp, "bob", "", "both")] = projections.UserSettings{Reads: events.ChoiceSend}
	at := func(c string) string { return base + "/users/bob/conversations/" + c }
	for _, x := range []struct{ method, path, body, want string }{
		{"GET", at("g1/settings"), "", `{"send_read_receipts":null,"send_delivery_receipts":null}`},
		{"PUT", at("g1/settings"), `{"send_read_receipts":false}`, `{"send_read_receipts":false,"send_delivery_receipts":null}`},
		{"PUT", at("alice/settings"), `{"send_delivery_receipts":true}`, `{"send_read_receipts":null,"send_delivery_receipts":true}`},
		{"PUT", at("g1/settings?type=group"), `{"send_read_receipts":null}`, `{"send_read_receipts":null,"send_delivery_receipts":null}`},
		{"GET", at("both/settings?type=peer"), "", `{"send_read_receipts":true,"send_delivery_receipts":null}`},
		{"GET", at("both/settings?type=group"), "", `{"send_read_receipts":null,"send_delivery_receipts":null}`},
	} {
		if a := h.want(request{method: x.method, path: x.path, token: bob, body: x.body}, 200, ""); string(a.body) != x.want+"\n" {
			t.Errorf("%s %s: %s", x.method, x.path, a.body)
		}
	}
	h.want(request{method: "GET", path: at("both/settings"), token: bob}, 409, "ambiguous")
	h.want(request{method: "PUT", path: at("both/settings"), token: bob, body: `{}`}, 409, "ambiguous")
	h.want(request{method: "PUT", path: at("nowhere/settings"), token: bob, body: `{}`}, 404, "conversation_not_found")
	h.want(request{method: "GET", path: at("nowhere/unread"), token: bob}, 404, "conversation_not_found")
	h.want(request{method: "GET", path: at("g1/settings?type=chat"), token: bob, wrong: true}, 400, "invalid_request")
	h.want(request{method: "GET", path: at("g1/unread"), token: h.token("alice")}, 403, "forbidden")
}

func TestUnreadMessagesInPages(t *testing.T) {
	h := newHarness(t)
	h.state.userSettings[in(testApp, "bob", "g1", "")] = projections.UserSettings{}
	h.state.unread = []projections.UnreadMessage{{ID: "m1", From: "alice"}, {ID: "m2", From: "cleo"}, {ID: "m3", From: "alice"}}
	path := base + "/users/bob/conversations/g1/unread?limit=2"
	a := h.want(request{method: "GET", path: path, token: h.token("bob")}, 200, "")
	next := a.field(t, "next_cursor").(string)
	want := `{"unread":3,"messages":[{"id":"m1","from":"alice"},{"id":"m2","from":"cleo"}],"next_cursor":"` + next + `"}` + "\n"
	if next == "" || string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	a = h.want(request{method: "GET", path: path + "&cursor=" + next, token: h.token("bob")}, 200, "")
	if want := `{"unread":3,"messages":[{"id":"m3","from":"alice"}],"next_cursor":""}` + "\n"; string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: base + "/groups/g1/positions?cursor=" + next, wrong: true}, 400, "invalid_cursor")
}

func TestWhoMaySeePositions(t *testing.T) {
	h := newHarness(t)
	h.state.positions[in(testApp, "g1")] = []projections.MemberPosition{
		{User: "alice", Watermark: 9, LastReadAt: sentAt}, {User: "bob"},
	}
	h.state.members[in(testApp, "g1", "alice")] = true
	path, alice := base+"/groups/g1/positions", h.token("alice")
	// Only senders are shown readers: a member hears why, anybody else what they hear of no group.
	a := h.want(request{method: "GET", path: path, token: alice}, 403, "forbidden")
	if !strings.Contains(string(a.body), "visibility is sender") {
		t.Errorf("a member is not told why: %s", a.body)
	}
	for _, token := range []string{h.token("bob"), h.token("zoe")} {
		h.want(request{method: "GET", path: path, token: token}, 404, "conversation_not_found")
	}
	s := h.state.settings[testApp]
	s.GroupReceipts.Visibility, s.Reciprocal = events.VisibleMembers, true
	h.state.settings[testApp] = s
	want := `{"sent":9,"members":[{"user":"alice","read_upto":9,"last_read_at":"2026-03-01T12:00:00.123Z"},` +
		`{"user":"bob","read_upto":0,"last_read_at":null}],"next_cursor":""}` + "\n"
	for _, token := range []string{"", alice} {
		if a := h.want(request{method: "GET", path: path, token: token}, 200, ""); string(a.body) != want {
			t.Errorf("got %s", a.body)
		}
	}
	h.want(request{method: "GET", path: path, token: h.token("bob")}, 404, "conversation_not_found")
	h.want(request{method: "GET", path: base + "/groups/g2/positions"}, 404, "conversation_not_found")
	h.state.seesNobody[in(testApp, "g1", "", "alice")] = true
	h.want(request{method: "GET", path: path, token: alice}, 403, "hides_own_reads")
}

// TestWhoHidesTheirReadsSeesNobodys: where reads are reciprocal, in every answer about a message.
func TestWhoHidesTheirReadsSeesNobodys(t *testing.T) {
	h := newHarness(t)
	read := projections.Message{
		ID: "m1", From: "alice", To: "bob", SentAt: sentAt, DeliveredAt: sentAt + 1,
		Counts: projections.Counts{Eligible: 1, Delivered: 1, Read: 1}, FirstReadAt: sentAt + 2, LastReadAt: sentAt + 2,
	}
	undelivered := read
	undelivered.ID, undelivered.DeliveredAt = "m2", 0
	h.state.messages[in(testApp, "m1")], h.state.messages[in(testApp, "m2")] = read, undelivered
	h.state.seesNobody[in(testApp, "", "bob", "alice")] = true
	counts := func(token string) string {
		return string(h.want(request{method: "POST", path: base + "/messages:counts", token: token, body: `{"ids":["m1","m2"]}`}, 200, "").body)
	}
	const all = `{"counts":{"m1":{"eligible":1,"delivered":1,"read":1},"m2":{"eligible":1,"delivered":1,"read":1}}}` + "\n"
	alice := h.token("alice")
	if got := counts(alice); got != all {
		t.Errorf("not reciprocal: %s", got)
	}
	s := h.state.settings[testApp]
	s.Reciprocal = true
	h.state.settings[testApp] = s
	if got := counts(""); got != all {
		t.Errorf("the admin: %s", got)
	}
	want := `{"counts":{"m1":{"eligible":1,"delivered":1,"read":0},"m2":{"eligible":1,"delivered":0,"read":0}}}` + "\n"
	if got := counts(alice); got != want {
		t.Errorf("counts: %s", got)
	}
	a := h.want(request{method: "GET", path: base + "/messages/m1", token: alice}, 200, "")
	if a.field(t, "read") != 0.0 || a.field(t, "delivered") != 1.0 || a.field(t, "last_read_at") != nil || a.field(t, "first_read_at") != nil {
		t.Errorf("the message: %s", a.body)
	}
	h.want(request{method: "GET", path: base + "/messages/m1/readers", token: alice}, 403, "hides_own_reads")
	h.want(request{method: "GET", path: base + "/messages/m1/nonreaders", token: alice}, 403, "hides_own_reads")
	h.want(request{method: "GET", path: base + "/messages/m1/readers"}, 200, "")
}
