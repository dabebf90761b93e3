package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
)

// doorsApp has group receipts, a group of many and a message in it.
const doorsApp = "o.rg#a"

func prepareDoors(t *testing.T, s *server, members int) {
	t.Helper()
	s.must("PUT", appPath(doorsApp), json.RawMessage(`{"group_receipts":{"enabled":true,"max_group_size":0}}`), nil)
	group := events.Event{Kind: events.GroupCreated, Group: "g", User: "anna"}
	for i := range members {
		group.Members = append(group.Members, fmt.Sprintf("u%d", i))
	}
	s.apply(doorsApp, group, events.Event{Kind: events.MessageSent, Group: "g", Message: "m", User: "anna", Receipt: true})
}

func readOf(user int) []byte {
	return fmt.Appendf(nil, `{"type":"message.read","message":"m","user":"u%d","group":"g"}`, user)
}

// TestRequestsOverNATS: what the door answers as durable is there after kill -9, a rejection is
// told to those who ask, and nonsense is refused with a reason.
func TestRequestsOverNATS(t *testing.T) {
	const clients, each = 8, 50
	s, url := ingressServer(t)
	prepareDoors(t, s, clients*each)
	subject, err := events.SubmitSubject(doorsApp)
	if err != nil {
		t.Fatal(err)
	}
	connect := func() *nats.Conn {
		nc, err := nats.Connect(url, nats.UserInfo("ingress", natsPassword), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	var group sync.WaitGroup
	for c := range clients {
		nc := connect()
		group.Go(func() {
			for i := range each {
				m, err := nc.Request(subject, readOf(c*each+i), patience)
				if err != nil || m.Header.Get(micro.ErrorHeader) != "" || !strings.HasPrefix(string(m.Data), `{"accepted":1,"positions":[{"partition":`) {
					t.Errorf("%+v, %v", m, err)
					return
				}
			}
		})
	}
	group.Wait()
	s.kill()
	s.start()
	caughtUp(t, s)
	if got := s.counts(doorsApp, []string{"m"})["m"]; got.Read != clients*each {
		t.Errorf("%d are read, want %d", got.Read, clients*each)
	}

	url = ingressAnnounced.FindStringSubmatch(s.process.out.String())[1]
	nc := connect()
	ask := func(subject, body string, header nats.Header) *nats.Msg {
		m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, patience)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	applied := nats.Header{"Receiptd-Wait": {"applied"}}
	m := ask(subject, `[{"type":"message.read","message":"m","user":"stranger","group":"g"},{"type":"message.read","message":"m","user":"u1","group":"g"}]`, applied)
	if want := `{"accepted":2,"outcomes":[{"index":0,"outcome":"rejected","code":602,"reason":"not in group or chatroom"},{"index":1,"outcome":"duplicate"}]}`; strings.TrimSpace(string(m.Data)) != want {
		t.Errorf("got  %s\nwant %s", m.Data, want)
	}
	for _, test := range []struct{ subject, body, code string }{
		{subject, `{"type":"message.seen"}`, "invalid_event"},
		{subject, string(readOf(1)) + string(readOf(2)), "invalid_event"},
		{"receipts.submit.o%2Erg.b", string(readOf(1)), "app_not_found"},
	} {
		m := ask(test.subject, test.body, nil)
		if m.Header.Get(micro.ErrorHeader) == "" || m.Header.Get(micro.ErrorCodeHeader) == "" || !strings.Contains(string(m.Data), test.code) {
			t.Errorf("%s: %+v", test.body, m)
		}
	}
	if n := s.metric("receiptd_fold_poison_entries_total"); n != 0 {
		t.Errorf("%v entries are poison", n)
	}
	s.verify()
}

// TestRequestsAreAnsweredBeforeTheEnd: a server that is told to stop answers every request that it
// took, and those of later are told that nobody is there.
func TestRequestsAreAnsweredBeforeTheEnd(t *testing.T) {
	s, url := ingressServer(t)
	const all = 5000
	prepareDoors(t, s, all)
	subject, _ := events.SubmitSubject(doorsApp)
	nc, err := nats.Connect(url, nats.UserInfo("ingress", natsPassword), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, 2*all)
	if _, err := nc.ChanSubscribe(inbox, answers); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(gone) })
	go func() {
		for i := range all {
			if nc.PublishRequest(subject, inbox, readOf(i)) != nil {
				return // the server is gone
			}
		}
		_ = nc.Flush()
	}()
	first := <-answers // it is under way
	s.stop()
	<-gone
	accepted := 0
	for m := first; m != nil; {
		switch {
		case m.Header.Get("Status") == "503": // nobody is there any more
		case m.Header.Get(micro.ErrorHeader) != "":
			t.Fatalf("%+v", m)
		default:
			accepted++
		}
		select {
		case m = <-answers:
		default:
			m = nil
		}
	}
	s.start()
	caughtUp(t, s)
	if got := s.counts(doorsApp, []string{"m"})["m"].Read; got != accepted {
		t.Errorf("%d are stored, %d were answered", got, accepted)
	}
}

// TestStreamOfEvents: what a stream counts as accepted is there after kill -9, and the rest may be
// sent again without a double.
func TestStreamOfEvents(t *testing.T) {
	const all = 3000
	s := startServer(t)
	prepareDoors(t, s, all)
	open := func(from int) (*io.PipeWriter, *bufio.Scanner) {
		out, in := io.Pipe()
		base, key := s.address()
		r, err := http.NewRequest("POST", fmt.Sprintf("%s%s/events:stream?from=%d", base, appPath(doorsApp), from), out)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/x-ndjson")
		r.Header.Set("Idempotency-Key", "the stream")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		return in, bufio.NewScanner(res.Body)
	}
	send := func(in *io.PipeWriter, from, to int) {
		for i := from; i < to; i++ {
			if _, err := in.Write(append(readOf(i), '\n')); err != nil {
				return // the server is gone
			}
		}
	}
	accepted := func(lines *bufio.Scanner) (n int) {
		for lines.Scan() {
			var a struct {
				Accepted int
				Error    struct{ Code string }
			}
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Error.Code != "" && a.Error.Code != "shutting_down" {
				t.Fatalf("%s, %v", lines.Bytes(), err)
			}
			if n = max(n, a.Accepted); n >= all/3 {
				break
			}
		}
		return n
	}

	in, lines := open(0)
	go send(in, 0, all*2/3)
	from := accepted(lines)
	s.kill()
	s.start()
	caughtUp(t, s)
	if got := s.counts(doorsApp, []string{"m"})["m"].Read; got < from {
		t.Fatalf("%d were accepted, and %d are there", from, got)
	}

	// A stop answers what is durable, too.
	in, lines = open(from)
	sent := make(chan struct{})
	go func() { defer close(sent); send(in, from, all*2/3) }()
	<-sent
	s.process.signal(syscall.SIGTERM)
	for lines.Scan() {
		var a struct{ Accepted int }
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		from = max(from, a.Accepted)
	}
	if code, err := s.exit(); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	s.start()
	in, lines = open(from)
	go func(from int) { send(in, from, all); in.Close() }(from)
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if !strings.HasPrefix(last, fmt.Sprintf(`{"accepted":%d,`, all)) {
		t.Errorf("at the end: %s", last)
	}
	caughtUp(t, s)
	if got := s.counts(doorsApp, []string{"m"})["m"].Read; got != all {
		t.Errorf("%d are read, want %d", got, all)
	}
	s.verify()
}

// natsLine is a line of docs/nats.md: server, subject, headers and body.
var natsLine = regexp.MustCompile(`(?m)^nats --server (\S+) request (\S+) (?:--header (\S+) )?'(.*)'$`)

// TestLinesOfTheDocumentRun does what the lines of docs/nats.md for the nats command do.
func TestLinesOfTheDocumentRun(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "nats.md"))
	if err != nil {
		t.Fatal(err)
	}
	s, url := ingressServer(t)
	s.must("PUT", appPath("acme#chat"), json.RawMessage(`{"group_receipts":{"enabled":true}}`), nil)
	s.apply("acme#chat",
		events.Event{Kind: events.GroupCreated, Group: "team", User: "ann", Members: []string{"ben", "cleo"}},
		events.Event{Kind: events.MessageSent, Group: "team", Message: "m1", User: "ann", Receipt: true})
	nc, err := nats.Connect(url, nats.UserInfo("ingress", natsPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	wants := []string{
		`{"accepted":1,"positions":[`, `{"accepted":1,"outcomes":[{"index":0,"outcome":"duplicate"}]}`, `{"accepted":1,"positions":[`,
		`{"error":{"code":"invalid_event"`, `{"stream":"RECEIPTS_`,
	}
	lines := natsLine.FindAllStringSubmatch(string(text), -1)
	if len(lines) != len(wants) {
		t.Fatalf("%d lines, want %d", len(lines), len(wants))
	}
	for i, line := range lines {
		m := nats.NewMsg(line[2])
		m.Data = []byte(line[4])
		if name, value, ok := strings.Cut(line[3], ":"); ok {
			m.Header.Set(name, value)
		}
		answer, err := nc.RequestMsg(m, patience)
		if err != nil || !strings.HasPrefix(string(answer.Data), wants[i]) || line[1] != "nats://ingress:open-sesame@127.0.0.1:4222" {
			t.Errorf("%s: %v, %v", line[0], answer, err)
		}
	}
	caughtUp(t, s)
	if got := s.counts("acme#chat", []string{"m1"})["m1"].Read; got != 2 {
		t.Errorf("%d have read", got)
	}
}

// TestFirstReceiptsDoNotFailInSilence: a new app has group receipts off, and the next answer
// says so.
func TestFirstReceiptsDoNotFailInSilence(t *testing.T) {
	s := startServer(t)
	const app = "acme#new"
	s.must("PUT", appPath(app), struct{}{}, nil)
	s.apply(app, events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}})
	var answer struct {
		Rejected struct {
			Lately      int `json:"last_10_minutes"`
			Reason, See string
		}
	}
	sent := json.RawMessage(`{"type":"message.sent","id":"m","from":"ann","group":"g","receipt":true}`)
	s.must("POST", appPath(app)+"/events", sent, nil)
	eventually(t, "an answer tells of the rejection", func() bool {
		s.must("POST", appPath(app)+"/events", json.RawMessage(`{"type":"message.delivered","message":"none","user":"ben","peer":"ann"}`), &answer)
		return answer.Rejected.Lately > 0
	})
	if answer.Rejected.Reason != "group ack not open" {
		t.Errorf("%+v", answer)
	}
	var listed struct{ Rejections []struct{ Reason string } }
	s.must("GET", answer.Rejected.See, nil, &listed)
	if len(listed.Rejections) != 1 {
		t.Errorf("%+v", listed)
	}
	if r := s.ctl("rejections", "acme/new"); r.code != 0 || !strings.Contains(r.out, "group ack not open") {
		t.Errorf("%v", r)
	}
}
