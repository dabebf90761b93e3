package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

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
// finds their own by the id alone, a stranger finds nothing, and who may see several names one.
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
	if r := prove(0, "--group=g1"); !strings.Contains(r.out, `"content":"g1"`) {
		t.Errorf("evidence of another message: %s", r.out)
	}
	s.verify()
}
