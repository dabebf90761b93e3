package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
)

// as calls the API with the token of a user of the chat app, and returns status and body.
func (s *server) as(user, method, path, body string) (status int, text string) {
	s.t.Helper()
	var minted struct{ Token string }
	s.must("POST", appPath(chatApp)+"/users/"+user+"/tokens", nil, &minted)
	base, _ := s.address()
	request, err := http.NewRequest(method, base+appPath(chatApp)+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+minted.Token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := web.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(all)
}

// TestMessagesAreNamedByTheirConversation: one id in 200 chats, over all partitions. Each author
// finds their own by the id alone, a stranger finds nothing, and whoever may see several names one.
func TestMessagesAreNamedByTheirConversation(t *testing.T) {
	const chats = 200
	s := startServer(t, "--partitions=3")
	s.must("PUT", appPath(chatApp), json.RawMessage(`{"group_receipts":{"enabled":true}}`), nil)
	var evs []events.Event
	for i := range chats {
		author := fmt.Sprint("author", i)
		if i%2 == 0 {
			evs = append(evs, events.Event{Kind: events.MessageSent, User: author, Peer: "reader", Message: "7"})
			continue
		}
		group := fmt.Sprint("g", i)
		evs = append(evs,
			events.Event{Kind: events.GroupCreated, Group: group, User: author, Members: []string{"reader", "other"}},
			events.Event{Kind: events.MessageSent, Group: group, User: author, Message: "7", Receipt: true},
			events.Event{Kind: events.MessageRead, Group: group, User: "reader", Message: "7", Content: group})
	}
	evs = append(evs, events.Event{Kind: events.MessageSent, User: "author1", Peer: "author0", Message: "7"})
	for _, o := range s.apply(chatApp, evs...) {
		if o.Outcome != "applied" {
			t.Fatalf("%+v", o)
		}
	}
	for i := 2; i < chats; i++ {
		author := fmt.Sprint("author", i)
		var m message
		if status, text := s.as(author, "GET", "/messages/7", ""); status != 200 || json.Unmarshal([]byte(text), &m) != nil || m.From != author {
			t.Errorf("%s: %d %s", author, status, text)
		}
	}
	var ambiguous struct {
		Error struct{ Conversations []struct{ Group string } }
	}
	if status, text := s.as("author1", "GET", "/messages/7/readers", ""); status != 409 || json.Unmarshal([]byte(text), &ambiguous) != nil || len(ambiguous.Error.Conversations) != 2 {
		t.Errorf("of two of the same author: %d %s", status, text)
	}
	if status, text := s.as("author1", "GET", "/messages/7/readers?group=g1", ""); status != 200 || !strings.Contains(text, `"content":"g1"`) {
		t.Errorf("named: %d %s", status, text)
	}
	if status, text := s.as("author1", "GET", "/messages/7?peer=author0", ""); status != 200 || !strings.Contains(text, `"to":"author0"`) {
		t.Errorf("named by the peer: %d %s", status, text)
	}
	for _, path := range []string{"/messages/%s", "/messages/%s/readers", "/messages/%s/nonreaders", "/messages/%s?group=g1", "/messages/%s?users=author0,reader"} {
		there, a := s.as("stranger", "GET", fmt.Sprintf(path, "7"), "")
		none, b := s.as("stranger", "GET", fmt.Sprintf(path, "8"), "")
		if there != 404 || there != none || a != b {
			t.Errorf("a stranger's %s: %d %s, of what is not there %d %s", path, there, a, none, b)
		}
	}
	if status, text := s.as("author3", "POST", "/messages:counts", `{"ids":["8","7"]}`); status != 200 || text != `{"counts":{"7":{"eligible":2,"delivered":1,"read":1}}}`+"\n" {
		t.Errorf("counts: %d %s", status, text)
	}
	if status, text := s.as("stranger", "POST", "/messages:counts", `{"ids":["7"],"messages":[{"id":"7","group":"g1"}]}`); status != 200 || text != `{"counts":{}}`+"\n" {
		t.Errorf("a stranger's counts: %d %s", status, text)
	}
	err := s.call("GET", messagePath(chatApp, "7"), nil, nil)
	if r := (*refusal)(nil); !errors.As(err, &r) || r.status != 409 || r.Body.Code != "ambiguous" {
		t.Errorf("the admin's: %v", err)
	}
	prove := func(code int, args ...string) result {
		t.Helper()
		r := s.ctl(append([]string{"prove", "--message=7", "--user=reader"}, args...)...)
		if r.code != code {
			t.Errorf("prove %v: %v", args, r)
		}
		return r
	}
	prove(1)
	prove(1, "--users=author0,reader") // not read
	if r := prove(0, "--group=g1"); !strings.Contains(r.out, `"content": "g1"`) {
		t.Errorf("evidence of another message: %s", r.out)
	}
	s.verify()
}

// TestUserReportsWhatTheyRead with their own token, many messages at a time, also over NATS and
// after a replay; sees who is in the group, which changes hands; and pages through conversations.
func TestUserReportsWhatTheyRead(t *testing.T) {
	const messages, groups = 250, 30
	s, address := ingressServer(t, "--receipts-per-second=50")
	s.must("PUT", appPath(chatApp), json.RawMessage(`{"group_receipts":{"enabled":true,"visibility":"members"}}`), nil)
	evs := []events.Event{{Kind: events.GroupCreated, Group: "team", User: "ann", Members: []string{"ben", "cleo"}}}
	var ids []string
	for i := range messages {
		ids = append(ids, fmt.Sprint("m", i))
		evs = append(evs, events.Event{Kind: events.MessageSent, Group: "team", User: "ann", Message: ids[i], Receipt: true})
	}
	for i := range groups {
		evs = append(evs, events.Event{Kind: events.GroupCreated, Group: fmt.Sprintf("g%02d", i), User: "ann", Members: []string{"ben"}},
			events.Event{Kind: events.MessageSent, Group: fmt.Sprintf("g%02d", i), User: "ann", Message: "7"})
	}
	s.apply(chatApp, evs...)
	body, err := json.Marshal(map[string]any{"type": "message.read", "messages": append(ids, "m0", "nothing"), "group": "team", "strict": true})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Accepted int
		Outcomes []outcome
	}
	status, text := s.as("ben", "POST", "/users/ben/receipts?wait=applied", string(body))
	if status != 200 || json.Unmarshal([]byte(text), &answer) != nil || answer.Accepted != messages+2 || len(answer.Outcomes) != messages+2 {
		t.Fatalf("%d %s", status, text)
	}
	for i, o := range answer.Outcomes {
		want := outcome{Index: i, Outcome: "applied"}
		switch i {
		case messages:
			want.Outcome = "duplicate"
		case messages + 1:
			want = outcome{i, "rejected", 503, "group ack msg not found"}
		}
		if o != want {
			t.Errorf("outcome %+v, want %+v", o, want)
		}
	}
	status, text = s.as("ben", "POST", "/users/ben/receipts", string(body))
	if status != 429 || !strings.Contains(text, `"rate_limited"`) {
		t.Errorf("beyond the rate: %d %s", status, text)
	}
	if status, text := s.as("ben", "POST", "/users/cleo/receipts", string(body)); status != 403 {
		t.Errorf("of another user: %d %s", status, text)
	}
	nc, err := nats.Connect(address, nats.UserInfo("ingress", natsPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	read := fmt.Sprintf(`{"type":"message.read","messages":["%s"],"user":"cleo","group":"team"}`, strings.Join(ids, `","`))
	if err := publish(t, nc, events.Event{Kind: events.MessageRead, App: chatApp, Group: "team"}, []byte(read)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have read all", func() bool {
		for _, n := range s.counts(chatApp, ids) {
			if n != (counts{2, 2, 2}) {
				return false
			}
		}
		return true
	})

	s.apply(chatApp, events.Event{Kind: events.GroupRole, Group: "team", User: "cleo", Role: events.RoleOwner})
	status, text = s.as("ben", "GET", "/groups/team/members", "")
	if want := `{"total":3,"members":[{"user":"ann","role":"admin"},{"user":"ben","role":"member"},{"user":"cleo","role":"owner"}],"next_cursor":""}` + "\n"; status != 200 || text != want {
		t.Errorf("members: %d %s", status, text)
	}
	if status, text := s.as("stranger", "GET", "/groups/team/members", ""); status != 404 {
		t.Errorf("members for a stranger: %d %s", status, text)
	}
	// Whoever comes later does not see the readers of what was sent before.
	s.apply(chatApp, events.Event{Kind: events.GroupJoined, Group: "team", User: "late"},
		events.Event{Kind: events.MessageSent, Group: "team", User: "ann", Message: "later", Receipt: true})
	for path, want := range map[string]int{"/messages/m0/readers": 404, "/messages/later/readers": 200} {
		if status, text := s.as("late", "GET", path, ""); status != want {
			t.Errorf("%s for one who came later: %d %s", path, status, text)
		}
	}

	s.must("POST", appPath(chatApp)+"/events?wait=applied", map[string]string{"type": "conversation.read", "user": "ben", "group": "g00"}, nil)
	seen, unread := map[string]bool{}, 0
	for cursor := ""; ; {
		var page struct {
			Conversations []conversation
			TotalUnread   int    `json:"total_unread"`
			NextCursor    string `json:"next_cursor"`
		}
		s.must("GET", appPath(chatApp)+"/users/ben/conversations?unread=true&limit=7&cursor="+cursor, nil, &page)
		for _, c := range page.Conversations {
			seen[c.Group] = true
			unread += c.Unread
		}
		if page.TotalUnread != messages+1+groups-1 {
			t.Errorf("total unread %d", page.TotalUnread)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != groups || seen["g00"] || unread != messages+1+groups-1 {
		t.Errorf("%d conversations with %d unread: %v", len(seen), unread, seen)
	}
	s.verify()
}
