package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// pages asks for one page after the other, until there is none, and returns what is in each.
func (h *harness) pages(path, token, list, field string) (pages [][]string) {
	h.t.Helper()
	for cursor := ""; ; {
		a := h.want(request{method: "GET", path: path + "&cursor=" + cursor, token: token}, 200, "")
		var page []string
		for _, x := range a.field(h.t, list).([]any) {
			row := x.(map[string]any)
			page = append(page, fmt.Sprint(row["group"], row["peer"], row[field]))
		}
		pages = append(pages, page)
		if cursor = a.field(h.t, "next_cursor").(string); cursor == "" {
			return pages
		}
	}
}

func TestMessagesOfAGroupInPages(t *testing.T) {
	h := newHarness(t)
	h.state.groups[in(testApp, "g1")] = nil
	for i := range 5 {
		h.state.sent = append(h.state.sent, projections.Message{ID: fmt.Sprint("m", i+1), Group: "g1", From: "alice", SentAt: sentAt})
	}
	path := base + "/groups/g1/messages"
	got := h.pages(path+"?limit=2", "", "messages", "id")
	if want := "[[g1<nil>m5 g1<nil>m4] [g1<nil>m3 g1<nil>m2] [g1<nil>m1]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
	h.want(request{method: "GET", path: path, token: h.token("alice")}, 403, "forbidden")
	h.want(request{method: "GET", path: base + "/groups/g2/messages"}, 404, "group_not_found")
	h.want(request{method: "GET", path: path + "?cursor=" + h.api.pageCursor(listReaders, 1), wrong: true}, 400, "invalid_cursor")
}

func TestReadsGoOverAllConversations(t *testing.T) {
	h := newHarness(t)
	bob := h.token("bob")
	h.state.conversations[in(testApp, "bob")] = []projections.ConversationView{
		{Group: "g1", Unread: 3}, {Group: "g2"}, {Group: "g3", Unread: 1}, {Peer: "alice", Unread: 2},
	}
	path := base + "/users/bob/reads"
	for _, token := range []string{"", bob} {
		got := h.pages(path+"?limit=2", token, "reads", "message")
		if want := "[[g1<nil>m3 g1<nil>m2] [g1<nil>m1 g3<nil>m1] [<nil>alicem2 <nil>alicem1]]"; fmt.Sprint(got) != want {
			t.Errorf("got %v", got)
		}
	}
	if got := h.pages(path+"?peer=alice&limit=1", bob, "reads", "message"); fmt.Sprint(got) != "[[<nil>alicem2] [<nil>alicem1]]" {
		t.Errorf("of a chat: %v", got)
	}
	a := h.want(request{method: "GET", path: path + "?group=g3", token: bob}, 200, "")
	want := `{"reads":[{"message":"m1","group":"g3","from":"alice","sent_at":"2026-03-01T12:00:00.123Z","read_at":"2026-03-01T12:00:00.123Z"}],"next_cursor":""}` + "\n"
	if string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: path, token: h.token("alice")}, 403, "forbidden")
	h.want(request{method: "GET", path: path + "?group=g9", token: bob}, 404, "conversation_not_found")
	h.want(request{method: "GET", path: path + "?group=g1&peer=alice", token: bob, wrong: true}, 400, "invalid_request")
	h.want(request{method: "GET", path: path + "?cursor=" + h.api.placeCursor(listReads, "x"), token: bob, wrong: true}, 400, "invalid_cursor")

	// Whose conversations have nothing that is read is told so in several pages.
	many := make([]projections.ConversationView, gateway.MaxWalkConversations+1)
	for i := range many {
		many[i].Group = fmt.Sprintf("g%04d", i)
	}
	many[gateway.MaxWalkConversations].Unread = 1
	h.state.conversations[in(testApp, "bob")] = many
	if got := h.pages(path+"?limit=2", bob, "reads", "message"); fmt.Sprint(got) != "[[] [g0100<nil>m1]]" {
		t.Errorf("many conversations: %v", got)
	}
	h.state.looked = gateway.MaxWalkLook / 2
	if got := h.pages(path+"?limit=1000", bob, "reads", "message"); len(got) != gateway.MaxWalkConversations/2+1 {
		t.Errorf("many messages: %d pages", len(got))
	}
}

func TestNonReadersOfManyMessages(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	path := base + "/messages:nonreaders"
	a := h.want(request{method: "POST", path: path, body: `{"ids":["unknown","m1"],"messages":[{"id":"m1","group":"g1"}],"limit":1}`}, 200, "")
	entry := `{"id":"m1","group":"g1","total":2,"nonreaders":["dave"]}`
	if want := `{"messages":[` + entry + `,` + entry + `]}` + "\n"; string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	if a := h.want(request{method: "POST", path: path, body: `{"ids":["m1"]}`, token: h.token("stranger")}, 200, ""); string(a.body) != `{"messages":[]}`+"\n" {
		t.Errorf("a stranger gets %s", a.body)
	}
	many := strings.Repeat(`"m1",`, maxNonReaderIDs)
	for _, body := range []string{
		`{}`, `{"ids":["m1"],"limit":0}`, `{"ids":["m1"],"limit":10001}`, `{"ids":["m1","m1"],"limit":5001}`, `{"ids":[` + many + `"m1"]}`,
	} {
		h.want(request{method: "POST", path: path, body: body, wrong: true}, 400, "invalid_request")
	}
	h.want(request{method: "POST", path: path, body: `{"ids":[` + strings.TrimSuffix(many, ",") + `]}`}, 200, "")
}
