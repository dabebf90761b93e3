package httpapi

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/projections"
)

func TestSummaryAndItsAcknowledgement(t *testing.T) {
	h := newHarness(t)
	h.state.setSummary("alice", []uint64{70, 3}, projections.SummaryItem{
		Message: "m1", Group: "g1", Count: 3, LastReader: "dave", FirstReadAt: sentAt, LastReadAt: sentAt + 1000,
	})
	token := h.token("alice")
	a := h.want(request{method: "GET", path: base + "/users/alice/statistics", token: token}, 200, "")
	cursor := a.field(t, "cursor").(string)
	want := `{"group_ack":[{"mid":"m1","gid":"g1","count":3,"last_reader":"dave","first_read_at":"2026-03-01T12:00:00.123Z",` +
		`"last_read_at":"2026-03-01T12:00:01.123Z"}],"cursor":"` + cursor + `"}` + "\n"
	if string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	if len(h.commands.seenCalls()) > 0 {
		t.Error("asking acknowledged")
	}
	h.want(request{method: "POST", path: base + "/users/alice/statistics:ack", token: token, body: `{"cursor":"` + cursor + `"}`}, 200, "")
	calls := h.commands.seenCalls()
	if len(calls) != 1 || calls[0].app != testApp || calls[0].user != "alice" || !slices.Equal(calls[0].upto, []uint64{70, 3}) {
		t.Errorf("seen %+v", calls)
	}

	for name, body := range map[string]string{
		"garbage": `{"cursor":"garbage"}`, "empty": `{"cursor":""}`, "missing": `{}`,
		"of another user": `{"cursor":"` + h.api.summaries.Cursor(testApp, "bob", "", []uint64{70, 3}) + `"}`,
		"of a device":     `{"cursor":"` + h.api.summaries.Cursor(testApp, "alice", "phone", []uint64{70, 3}) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			h.want(request{method: "POST", path: base + "/users/alice/statistics:ack", token: token, body: body, wrong: true}, 400, "invalid_cursor")
		})
	}
	h.want(request{method: "POST", path: base + "/users/bob/statistics:ack", token: token, body: `{"cursor":"` + cursor + `"}`}, 403, "forbidden")
	if len(h.commands.seenCalls()) != 1 {
		t.Error("a refused acknowledgement was carried out")
	}
}

// A device that is named has a summary of its own, and its cursors are of use to no other.
func TestSummaryOfADevice(t *testing.T) {
	h := newHarness(t)
	h.state.mu.Lock()
	h.state.summaries[in(testApp, "alice", "phone")] = []projections.SummaryItem{
		{Message: "m1", Group: "g1", Count: 3, LastReader: "dave", FirstReadAt: sentAt, LastReadAt: sentAt},
	}
	h.state.upto = []uint64{70, 3}
	h.state.mu.Unlock()
	path := base + "/users/alice/statistics"
	if a := h.want(request{method: "GET", path: path}, 200, ""); len(a.field(t, "group_ack").([]any)) != 0 {
		t.Errorf("without a device: %s", a.body)
	}
	a := h.want(request{method: "GET", path: path + "?device=phone"}, 200, "")
	if len(a.field(t, "group_ack").([]any)) != 1 {
		t.Errorf("the phone: %s", a.body)
	}
	body := `{"cursor":"` + a.field(t, "cursor").(string) + `"}`
	for _, query := range []string{"", "?device=laptop"} {
		h.want(request{method: "POST", path: path + ":ack" + query, body: body, wrong: true}, 400, "invalid_cursor")
	}
	for _, device := range []string{"", "a%0Ab", strings.Repeat("d", 129)} {
		h.want(request{method: "GET", path: path + "?device=" + device, wrong: true}, 400, "invalid_request")
		h.want(request{method: "POST", path: path + ":ack?device=" + device, body: body, wrong: true}, 400, "invalid_request")
		h.want(request{method: "GET", path: base + "/users/alice/stream?device=" + device, wrong: true}, 400, "invalid_request")
	}
	if calls := h.commands.seenCalls(); len(calls) > 0 {
		t.Errorf("acknowledged: %+v", calls)
	}
	h.want(request{method: "POST", path: path + ":ack?device=phone", body: body}, 200, "")
	if calls := h.commands.seenCalls(); len(calls) != 1 || calls[0].device != "phone" || !slices.Equal(calls[0].upto, []uint64{70, 3}) {
		t.Errorf("seen %+v", calls)
	}
}

// What did not fit into the summary is said, also when nothing else is left in it.
func TestSummarySaysWhatWasDropped(t *testing.T) {
	h := newHarness(t)
	h.state.mu.Lock()
	h.state.dropped = 7
	h.state.mu.Unlock()
	a := h.want(request{method: "GET", path: base + "/users/alice/statistics", token: h.token("alice")}, 200, "")
	if a.field(t, "truncated") != true || a.field(t, "dropped") != 7.0 {
		t.Errorf("got %s", a.body)
	}
}

func TestSummaryOfSingleChats(t *testing.T) {
	h := newHarness(t)
	h.state.setSummary("alice", []uint64{70, 3},
		projections.SummaryItem{Kind: projections.SummaryDelivered, Message: "m1", Peer: "bob", DeliveredAt: sentAt},
		projections.SummaryItem{Kind: projections.SummaryConversationRead, Peer: "carol", LastReadAt: sentAt + 1000},
		projections.SummaryItem{Kind: projections.SummaryRead, Message: "m2", Peer: "bob", LastReadAt: sentAt + 2000},
		projections.SummaryItem{Kind: projections.SummaryRead, Message: "m3", Peer: "bob", DeliveredAt: sentAt, LastReadAt: sentAt + 2000},
	)
	a := h.want(request{method: "GET", path: base + "/users/alice/statistics"}, 200, "")
	want := `{"group_ack":[],"single_ack":[{"mid":"m1","peer":"bob","delivered_at":"2026-03-01T12:00:00.123Z"},` +
		`{"mid":"m2","peer":"bob","read_at":"2026-03-01T12:00:02.123Z"},` +
		`{"mid":"m3","peer":"bob","delivered_at":"2026-03-01T12:00:00.123Z","read_at":"2026-03-01T12:00:02.123Z"}],` +
		`"conversation_ack":[{"peer":"carol","read_at":"2026-03-01T12:00:01.123Z"}],"cursor":"` + a.field(t, "cursor").(string) + `"}` + "\n"
	if string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
}

func TestTokensAreMadeForUsers(t *testing.T) {
	h := newHarness(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h.setClock(now)
	a := h.want(request{method: "POST", path: base + "/users/bob/tokens", body: `{"ttl":"2h"}`}, 200, "")
	if got := a.field(t, "expires_at"); got != "2026-03-01T14:00:00.000Z" {
		t.Errorf("expires at %v", got)
	}
	token := a.field(t, "token").(string)
	claims, err := h.tokens.Verify(token)
	if err != nil || claims.App != testApp || claims.User != "bob" || !claims.Expires.Equal(now.Add(2*time.Hour)) {
		t.Errorf("claims %+v, %v", claims, err)
	}
	h.want(request{method: "GET", path: base + "/users/bob/conversations", token: token}, 200, "")
	h.setClock(now.Add(2 * time.Hour))
	h.want(request{method: "GET", path: base + "/users/bob/conversations", token: token}, 401, "token_expired")

	h.setClock(now)
	if a := h.want(request{method: "POST", path: base + "/users/bob/tokens"}, 200, ""); a.field(t, "expires_at") != "2026-03-02T12:00:00.000Z" {
		t.Errorf("by default: %s", a.body)
	}
	h.want(request{method: "POST", path: base + "/users/bob/tokens", token: token}, 403, "forbidden")
	for _, body := range []string{`{"ttl":"0"}`, `{"ttl":"-1h"}`, `{"ttl":"2161h"}`, `{"ttl":"1ms"}`, `{"ttl":"soon"}`, `{"ttl":24}`, `{"ttl":null}`, `{"tll":"1h"}`, `[]`} {
		h.want(request{method: "POST", path: base + "/users/bob/tokens", body: body, wrong: true}, 400, "invalid_request")
	}
}
