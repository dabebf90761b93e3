package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// stepped is a server whose broker is outside of it, behind a network on which each of its steps
// can be caught: so it can be killed exactly between two of them.
type stepped struct {
	*server
	net *natstest.Proxy
}

func startStepped(t *testing.T) stepped {
	t.Helper()
	net := natstest.StartProxy(t, natstest.StartServer(t).Addr())
	return stepped{startServer(t, "--nats="+net.URL(), "--partitions=2"), net}
}

// killedAt kills the server when it is caught at something, which a request has it do, and starts
// it again.
func (s stepped) killedAt(caught <-chan struct{}, request func() error) {
	s.t.Helper()
	answered := make(chan error, 1)
	go func() { answered <- request() }()
	select {
	case <-caught:
	case err := <-answered:
		s.t.Fatalf("it was answered: %v", err)
	case <-time.After(patience):
		s.t.Fatal("the server did not come to the step")
	}
	s.kill()
	if err := <-answered; err == nil {
		s.t.Error("it was answered")
	}
	s.net.Cut()
	s.start()
}

const steppedApp = "lab#steps"

// groupIn is a group of a partition of two.
func groupIn(partition int) string {
	for n := 0; ; n++ {
		name := fmt.Sprint("g", n)
		if events.Partition(&events.Event{App: steppedApp, Group: name}, 2) == partition {
			return name
		}
	}
}

// entriesOf is the subject below which the entries of a partition are published.
func entriesOf(partition int) string { return fmt.Sprint("receipts.v1.", partition) }

// manyTries is more than it takes to kill a server between its partitions, which publish on their
// own: what is caught of the one may be earlier than what the other one has.
const manyTries = 40

// A request whose events go to two partitions is cut off when one of them has its events: sent
// again, all count once.
func TestKilledBetweenPartitionsOfARequest(t *testing.T) {
	t.Parallel()
	s := startStepped(t)
	s.must("PUT", appPath(steppedApp), map[string]any{}, nil)
	in := func(id string) (there [2]bool) {
		for partition := range there {
			var answer struct{ Messages []struct{ ID string } }
			s.must("GET", appPath(steppedApp)+"/groups/"+groupIn(partition)+"/messages", nil, &answer)
			for _, m := range answer.Messages {
				if m.ID == id {
					if there[partition] {
						t.Errorf("%s is twice in partition %d", id, partition)
					}
					there[partition] = true
				}
			}
		}
		return there
	}
	both := func(e events.Event) []byte {
		first, second := e, e
		first.Group, second.Group = groupIn(0), groupIn(1)
		return lines([]events.Event{first, second})
	}
	if _, err := s.do("POST", appPath(steppedApp)+"/events?wait=applied", ndjson, both(events.Event{Kind: events.GroupCreated, User: "ann", Members: []string{"ben"}})); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		id, late := fmt.Sprint("m", n), n%2
		body := both(events.Event{Kind: events.MessageSent, Message: id, User: "ann"})
		post := func() error { _, err := s.do("POST", appPath(steppedApp)+"/events", ndjson, body); return err }
		s.killedAt(s.net.Snare(entriesOf(late)), post)
		between := in(id)
		if between[late] {
			t.Fatal("what was caught is in the log")
		}
		if err := post(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "both partitions have the message", func() bool { return in(id) == [2]bool{true, true} })
		if between[1-late] {
			break
		}
		if n == manyTries {
			t.Fatal("the server was never killed between the partitions")
		}
	}
	s.verify()
}

// An acknowledgement of a summary is cut off when one partition has it: the items of the other one
// are told again, and those of this one are not.
func TestKilledBetweenPartitionsOfAnAcknowledgement(t *testing.T) {
	t.Parallel()
	s := startStepped(t)
	s.must("PUT", appPath(steppedApp), map[string]any{"group_receipts": map[string]any{"enabled": true}}, nil)
	for partition := range 2 {
		s.apply(steppedApp, events.Event{Kind: events.GroupCreated, Group: groupIn(partition), User: "ann", Members: []string{"ben"}})
	}
	path := appPath(steppedApp) + "/users/ann/statistics"
	summary := func() (groups []string, cursor string) {
		var answer struct {
			GroupAck []struct{ GID string } `json:"group_ack"`
			Cursor   string
		}
		s.must("GET", path, nil, &answer)
		for _, x := range answer.GroupAck {
			groups = append(groups, x.GID)
		}
		return groups, answer.Cursor
	}
	for n := 0; ; n++ {
		id, late := fmt.Sprint("m", n), n%2
		for partition := range 2 {
			g := groupIn(partition)
			s.apply(steppedApp, events.Event{Kind: events.MessageSent, Message: id, Group: g, User: "ann", Receipt: true},
				events.Event{Kind: events.MessageRead, Message: id, Group: g, User: "ben"})
		}
		before, cursor := summary()
		if len(before) != 2 {
			t.Fatalf("the summary has %q", before)
		}
		ack := func() error { return s.call("POST", path+":ack", map[string]string{"cursor": cursor}, nil) }
		s.killedAt(s.net.Snare(entriesOf(late)), ack)
		between, cursor := summary()
		if err := s.call("POST", path+":ack", map[string]string{"cursor": cursor}, nil); err != nil {
			t.Fatal(err)
		}
		if after, _ := summary(); len(after) > 0 {
			t.Errorf("acknowledged again, the summary has %q", after)
		}
		if len(between) == 1 && between[0] == groupIn(late) {
			break
		}
		if len(between) != 2 || n == manyTries {
			t.Fatalf("after a kill between the partitions the summary has %q", between)
		}
	}
	s.verify()
}

// What SDK users do in the log and in their accounts is cut off between the two, or where it is
// done and not answered. Done again it is done once.
func TestKilledBetweenLogAndAccounts(t *testing.T) {
	const accounts = "$KV.receiptd_accounts"
	setUp := func(t *testing.T) stepped {
		t.Parallel()
		s := startStepped(t)
		s.must("PUT", appPath(steppedApp), map[string]any{"invitations": "consent"}, nil)
		return s
	}
	ben := `{"username":"ben","password":"secret"}`
	login := `{"grant_type":"password","username":"ben","password":"secret"}`
	group := `{"groupname":"team","owner":"ann","members":["ben"]}`
	t.Run("a user who is not stored", func(t *testing.T) {
		s := setUp(t)
		s.killedAt(s.net.Snare(accounts+".users"), s.asking("POST", "/users", "", ben))
		s.rest(400, "POST", "/token", "", login)
		s.rest(200, "POST", "/users", "", ben)
		s.rest(200, "POST", "/token", "", login)
	})
	t.Run("a user who is stored", func(t *testing.T) {
		s := setUp(t)
		s.killedAt(s.net.Deafen(accounts+".users"), s.asking("POST", "/users", "", ben))
		s.rest(400, "POST", "/users", "", ben)
		s.rest(200, "POST", "/token", "", login)
	})
	t.Run("a group whose profile is stored", func(t *testing.T) {
		s := setUp(t)
		s.killedAt(s.net.Snare("receipts.v1"), s.asking("POST", "/chatgroups", "", group))
		if text := s.rest(200, "GET", "/users/ann/joined_chatgroups", "", ""); strings.Contains(text, "groupid") {
			t.Errorf("ann is in a group that was not made: %s", text)
		}
		s.rest(200, "POST", "/chatgroups", "", group)
		if text := s.rest(200, "GET", "/users/ann/joined_chatgroups", "", ""); strings.Count(text, `"team"`) == 0 {
			t.Errorf("made again, ann is in %s", text)
		}
	})
	t.Run("a group that is dissolved", func(t *testing.T) {
		s := setUp(t)
		path := "/chatgroups/" + s.made(group)
		s.killedAt(s.net.Snare("$JS.API.STREAM.PURGE.KV_receiptd_accounts"), s.asking("DELETE", path, "", ""))
		s.rest(404, "GET", path, "", "")
		if text := s.rest(200, "GET", "/users/ann/joined_chatgroups", "", ""); strings.Contains(text, "groupid") {
			t.Errorf("ann is in a group that is dissolved: %s", text)
		}
	})
	t.Run("an invitation", func(t *testing.T) {
		s := setUp(t)
		id := s.made(`{"groupname":"team","owner":"ann"}`)
		var ann struct{ Token string }
		s.must("POST", appPath(steppedApp)+"/users/ann/tokens", map[string]any{}, &ann)
		invite := s.asking("POST", "/chatgroups/"+id+"/invite", ann.Token, `{"usernames":["ben"]}`)
		waiting := func() (list []any) {
			var answer struct{ Invitations []any }
			s.must("GET", appPath(steppedApp)+"/users/ben/invitations", nil, &answer)
			return answer.Invitations
		}
		s.killedAt(s.net.Deafen(accounts+".invites"), invite)
		if list := waiting(); len(list) != 1 {
			t.Errorf("invited, and not answered: %v", list)
		}
		if err := invite(); err != nil {
			t.Error(err)
		}
		if list := waiting(); len(list) != 1 {
			t.Errorf("invited again: %v", list)
		}
	})
}

// made makes a group and returns its id.
func (s stepped) made(group string) (id string) {
	s.t.Helper()
	_, rest, _ := strings.Cut(s.rest(200, "POST", "/chatgroups", "", group), `"groupid":"`)
	id, _, _ = strings.Cut(rest, `"`)
	return id
}

// rest makes one of the SDK's REST calls, by the admin key if there is no token, and returns what
// it is answered.
func (s stepped) rest(status int, method, path, token, body string) string {
	s.t.Helper()
	code, text, err := s.ask(method, path, token, body)
	if err != nil || code != status {
		s.t.Fatalf("%s %s: %d, %v: %s", method, path, code, err, text)
	}
	return text
}

// asking is such a call that has to be answered with success.
func (s stepped) asking(method, path, token, body string) func() error {
	return func() error {
		code, text, err := s.ask(method, path, token, body)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d: %s", code, text)
		}
		return err
	}
}

func (s stepped) ask(method, path, token, body string) (code int, text string, err error) {
	base, key := s.address()
	if token == "" {
		token = key
	}
	request, err := http.NewRequest(method, base+"/"+strings.Replace(steppedApp, "#", "/", 1)+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := web.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}
