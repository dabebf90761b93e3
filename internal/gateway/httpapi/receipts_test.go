package httpapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const receiptsPath = base + "/users/bob/receipts"

// reports are receipts of bob, who is not named in them.
func reports(n int) request {
	list := make([]string, n)
	for i := range list {
		list[i] = `{"type":"message.read","message":"m` + strconv.Itoa(i) + `","group":"g1"}`
	}
	return request{method: "POST", path: receiptsPath, body: "[" + strings.Join(list, ",") + "]"}
}

func TestUsersReportTheirOwnReceipts(t *testing.T) {
	h := newHarness(t)
	h.state.outcomes = func(context.Context, int, uint64) ([]events.Outcome, error) { return make([]events.Outcome, 9), nil }
	bob := h.token("bob")
	body := `[{"type":"message.read","messages":["m1","m2"],"group":"g1","content":"both"},{"type":"message.delivered","message":"m3","peer":"alice"},` +
		`{"type":"conversation.read","peer":"alice","upto":"m3","user":"bob"},{"type":"conversation.marked_unread","group":"g1"}]`
	for _, token := range []string{bob, ""} {
		a := h.want(request{method: "POST", path: receiptsPath + "?wait=applied", token: token, body: body}, 200, "")
		want := `{"accepted":5,"outcomes":[{"index":0,"outcome":"applied"},{"index":1,"outcome":"applied"},{"index":2,"outcome":"applied"},{"index":3,"outcome":"applied"},{"index":4,"outcome":"applied"}]}` + "\n"
		if string(a.body) != want {
			t.Errorf("got %s", a.body)
		}
		got := h.log.taken()
		for i, want := range []events.Event{
			{App: testApp, Kind: events.MessageRead, User: "bob", Message: "m1", Group: "g1", Content: "both"},
			{App: testApp, Kind: events.MessageRead, User: "bob", Message: "m2", Group: "g1", Content: "both"},
			{App: testApp, Kind: events.MessageDelivered, User: "bob", Message: "m3", Peer: "alice"},
			{App: testApp, Kind: events.ConversationRead, User: "bob", Message: "m3", Peer: "alice"},
			{App: testApp, Kind: events.ConversationMarkedUnread, User: "bob", Group: "g1"},
		} {
			if len(got) != 5 || fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", want) {
				t.Fatalf("submitted %+v", got)
			}
		}
	}
	ofBob := events.AppendEventList(nil, []events.Event{{Kind: events.MessageRead, Message: "m1", Group: "g1"}})
	for _, rq := range []request{
		{contentType: "application/x-protobuf", body: string(ofBob)},
		{contentType: "application/x-ndjson", body: `{"type":"message.read","message":"m1","group":"g1"}` + "\n"},
	} {
		rq.method, rq.path, rq.token = "POST", receiptsPath, bob
		h.want(rq, 200, "")
		if got := h.log.taken(); len(got) != 1 || got[0].User != "bob" || got[0].Message != "m1" {
			t.Errorf("%s: submitted %+v", rq.contentType, got)
		}
	}
	// A user of before is not the user of an event that has none.
	h.want(request{method: "POST", path: base + "/events", body: `{"type":"message.read","message":"m1","group":"g1"}`, wrong: true}, 400, "invalid_event")
}

func TestReceiptsThatAreNotOnesOwn(t *testing.T) {
	h := newHarness(t)
	good := `{"type":"message.read","message":"m1","group":"g1"}`
	for line, field := range map[string]string{
		`{"type":"message.read","message":"m1","group":"g1","user":"alice"}`:   "user",
		`{"type":"conversation.read","peer":"bob","user":"alice"}`:             "user",
		`{"type":"conversation.read","peer":"bob"}`:                            "peer",
		`{"type":"conversation.marked_unread","group":"g1","user":"alice"}`:    "user",
		`{"type":"message.sent","id":"m1","from":"bob","group":"g1"}`:          "type",
		`{"type":"message.recalled","message":"m1","user":"bob","group":"g1"}`: "type",
		`{"type":"group.joined","group":"g1","user":"bob"}`:                    "type",
		`{"type":"group.dissolved","group":"g1"}`:                              "type",
		`{"type":"message.read","message":"m1","group":"g1","user":""}`:        "user",
	} {
		a := h.want(request{method: "POST", path: receiptsPath, token: h.token("bob"), body: "[" + good + "," + line + "]", wrong: true}, 400, "invalid_event")
		if a.field(t, "error", "field") != field || a.field(t, "error", "index") != 1.0 {
			t.Errorf("%s: %s", line, a.body)
		}
	}
	h.want(request{method: "POST", path: receiptsPath, token: h.token("alice"), body: good}, 403, "forbidden")
	if got := h.log.taken(); len(got) > 0 {
		t.Errorf("%d receipts were stored", len(got))
	}
}

// TestReportsAreBounded: a user has a rate of their own, which the admin does not.
func TestReportsAreBounded(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.ReceiptsPerSecond = 1 }) // 10 at once
	bob, other := reports(10), reports(1)
	bob.token = h.token("bob")
	tooMany := reports(11)
	tooMany.token = bob.token
	h.want(tooMany, 413, "too_many_events")
	h.want(bob, 200, "")
	a := h.want(bob, 429, "rate_limited")
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 10 {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if got := h.log.taken(); len(got) != 10 {
		t.Errorf("%d receipts were stored", len(got))
	}
	many := request{method: "POST", path: receiptsPath, token: bob.token, body: `{"type":"message.read","messages":["1","2","3","4","5","6","7","8","9"],"group":"g1"}`}
	h.want(many, 429, "rate_limited")
	other.path, other.token = base+"/users/alice/receipts", h.token("alice")
	h.want(other, 200, "")
	bob.token = ""
	for range 3 {
		h.want(bob, 200, "")
	}
}

func TestReportersAreForgottenAndNoRateIsGivenBack(t *testing.T) {
	l := newReporters(1)
	now := time.Unix(1000, 0)
	who := func(i int) reporter { return reporter{testApp, strconv.Itoa(i)} }
	if wait := l.take(who(0), 10, now); wait > 0 {
		t.Errorf("the burst waits for %v", wait)
	}
	if wait := l.take(who(0), 0, now); wait != time.Second {
		t.Errorf("the next one waits for %v", wait)
	}
	if wait := l.take(who(0), 5, now); wait != 5*time.Second {
		t.Errorf("five wait for %v", wait)
	}
	now = now.Add(5 * time.Second)
	if wait := l.take(who(0), 5, now); wait > 0 {
		t.Errorf("after their time they wait for %v: what was refused was taken", wait)
	}
	for i := range 20 * minSweep {
		now = now.Add(10 * time.Millisecond) // each bucket is whole again after a second
		if wait := l.take(who(i+1), 1, now); wait > 0 {
			t.Fatalf("user %d waits for %v", i, wait)
		}
	}
	if n := len(l.users); n > 2*minSweep {
		t.Errorf("%d users are remembered", n)
	}
}

func TestMembers(t *testing.T) {
	h := newHarness(t)
	h.state.groups[in(testApp, "g1")] = []projections.GroupMember{
		{User: "alice", Role: events.RoleOwner}, {User: "bob", Role: events.RoleAdmin}, {User: "carol", Role: events.RoleMember},
	}
	h.state.members[in(testApp, "g1", "carol")] = true
	path := base + "/groups/g1/members"
	for _, token := range []string{"", h.token("carol")} {
		first := h.want(request{method: "GET", path: path + "?limit=2", token: token}, 200, "")
		cursor, _ := first.field(t, "next_cursor").(string)
		second := h.want(request{method: "GET", path: path + "?limit=2&cursor=" + cursor, token: token}, 200, "")
		want := `{"total":3,"members":[{"user":"alice","role":"owner"},{"user":"bob","role":"admin"}],"next_cursor":"` + cursor + `"}` + "\n" +
			`{"total":3,"members":[{"user":"carol","role":"member"}],"next_cursor":""}` + "\n"
		if got := string(first.body) + string(second.body); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	there := h.want(request{method: "GET", path: path, token: h.token("mallory")}, 404, "group_not_found")
	none := h.want(request{method: "GET", path: base + "/groups/g2/members", token: h.token("mallory")}, 404, "group_not_found")
	if string(there.body) != string(none.body) {
		t.Errorf("%s is told from %s", there.body, none.body)
	}
	h.want(request{method: "GET", path: base + "/groups/g2/members"}, 404, "group_not_found")
	h.want(request{method: "GET", path: path + "?cursor=" + h.api.pageCursor(listReaders, 1)}, 400, "invalid_cursor")
	h.want(request{method: "GET", path: base + "/groups/" + strings.Repeat("x", 129) + "/members", wrong: true}, 400, "invalid_request")
}

// TestChangesOfUsersAreBounded: whatever else a user may have written to the log counts as what
// they report.
func TestChangesOfUsersAreBounded(t *testing.T) {
	for name, r := range map[string]request{
		"settings":                 {method: "PUT", path: base + "/users/bob/settings", body: `{"send_read_receipts":true}`},
		"settings of conversation": {method: "PUT", path: base + "/users/bob/conversations/g1/settings", body: `{"send_read_receipts":true}`},
		"acknowledgement":          {method: "POST", path: base + "/users/bob/statistics:ack", body: `{"cursor":"AAAA"}`},
		"stream of a device":       {method: "GET", path: base + "/users/bob/stream?device=phone"},
	} {
		h := newHarness(t, func(c *Config) { c.Limits.ReceiptsPerSecond = 1 }) // 10 at once
		all := reports(10)
		all.token, r.token = h.token("bob"), h.token("bob")
		h.want(all, 200, "")
		t.Run(name, func(t *testing.T) { h.want(r, 429, "rate_limited") })
	}
}
