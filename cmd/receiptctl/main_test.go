package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/internal/config"
)

func runForTest(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, nil, streams{&stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

// The server must not reject a key or a variable of this program as unknown, so it knows their
// names.
func TestServerKnowsTheFlags(t *testing.T) {
	parser, err := kong.New(&cli{}, helpVars)
	if err != nil {
		t.Fatal(err)
	}
	shared := append(config.Names(), "config", "help")
	var own []string
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && !slices.Contains(shared, flag.Name) && !slices.Contains(own, flag.Name) {
			own = append(own, flag.Name)
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	known := config.ToolNames()
	slices.Sort(own)
	slices.Sort(known)
	if !slices.Equal(own, known) {
		t.Errorf("config.ToolNames() has\n  %q\nbut the flags of receiptctl alone are\n  %q", known, own)
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tail", "--wrong"}, exitUsage, "unknown flag --wrong"},
		{[]string{}, exitUsage, "Run receiptctl --help"},
		{[]string{"tail", "--from=yesterday", "--count=-1"}, exitUsage, "2 problems"},
		{[]string{"tail"}, exitFailed, "no admin key: give --admin-key"},
		{[]string{"bench", "overload", "--connections=0"}, exitUsage, "--connections takes what is above zero"},
		{[]string{"bench", "doors", "floor", "--in-flight=0", "--duration=0s"}, exitUsage, "--duration takes what is above zero"},
		{[]string{"tail", "--admin-key=k", "--server=here"}, exitFailed, "is not a URL like"},
	} {
		code, out, stderr := runForTest(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || out != "" {
			t.Errorf("%q: exit %d, %s%s", test.args, code, out, stderr)
		}
	}
}

func TestTailWritesEvents(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("app") != "org/app" || q.Get("from") != "start" || r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("got %s, %v", r.URL, r.Header)
		}
		fmt.Fprint(w, "{\"cursor\":\"0\"}\n{\"partition\":0,\"cursor\":\"1\"}\n{\"partition\":1,\"cursor\":\"2\"}\n")
	}))
	defer server.Close()
	code, out, stderr := runForTest(t, "tail", "--server", server.URL, "--admin-key=k", "--app=org/app", "--from=start", "--count=1")
	if code != exitOK || out != "{\"partition\":0,\"cursor\":\"1\"}\n" || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, out, stderr)
	}
}

func TestSubjectOfAnEvent(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"acme/chat"}, exitOK, "receipts.submit.acme.chat\n"},
		{[]string{"a.b/c_d"}, exitOK, "receipts.submit.a%2Eb.c_d\n"},
		{[]string{"acme/chat", `{"type":"message.read","message":"m1","user":"müller.1","peer":"ann"}`}, exitOK, "receipts.in.acme.chat.s~ann~m%C3%BCller%2E1.message-read\n"},
		{[]string{"acme/chat", "message.read", "message=m1", "user=müller.1", "peer=ann"}, exitOK, "receipts.in.acme.chat.s~ann~m%C3%BCller%2E1.message-read\n"},
		{[]string{"acme/chat", "group.created", "group=g.1", "owner=ann", "members=ben,cleo"}, exitOK, "receipts.in.acme.chat.g~g%2E1.group-created\n"},
		{[]string{"acme/chat", "message.read", "message=m1", "user=ben", "gruop=g"}, exitFailed, "gruop"},
		{[]string{"acme/chat", "--submit", `{"type":"message.read","message":"m1","user":"u","group":"g"}`}, exitOK, "receipts.submit.acme.chat\n"},
		{[]string{"acme/chat", `{"type":"message.seen"}`}, exitFailed, "event 0: type"},
		{[]string{"acme/chat", `[{"type":"group.left","group":"g","user":"u"},{"type":"group.left","group":"g","user":"v"}]`}, exitFailed, "more than one event"},
		{[]string{"acme"}, exitFailed, "ORG/APP"},
	} {
		code, out, stderr := runForTest(t, append([]string{"subject"}, test.args...)...)
		if code != test.code || !strings.Contains(out+stderr, test.want) {
			t.Errorf("%q: exit %d, %s%s", test.args, code, out, stderr)
		}
	}
}

func TestListsOfWhatHadNoEffect(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.String() {
		case "/v1/apps/acme/chat/rejections?limit=20":
			fmt.Fprint(w, `{"rejections":[{"partition":1,"sequence":7,"index":0,"at":"2026-03-01T12:00:00.000Z","type":"message.read","group":"g1","user":"bob","message":"m1","code":503,"reason":"group ack not open"}]}`)
		case "/v1/apps/acme/chat/alerts?limit=20":
			fmt.Fprint(w, `{"decided_upto":null,"alerts":[`+
				`{"rule":{"name":"slow","by":"label","id":"spring","after":"4h","median_above":"90m"},"subject":"spring","sent_from":"2026-03-01T11:00:00.000Z","sent_until":"2026-03-01T12:00:00.000Z","due_at":"2026-03-01T16:00:00.000Z","messages":3,"eligible":60,"read":12,"read_rate":0.2},`+
				`{"rule":{"name":"quiet","by":"group","after":"2h","read_percent_below":30},"subject":"g1","sent_from":"2026-03-01T12:00:00.000Z","sent_until":"2026-03-01T13:00:00.000Z","due_at":"2026-03-01T15:00:00.000Z","messages":1,"eligible":4,"read":1,"read_rate":0.25}]}`)
		case "/v1/admin/poison":
			fmt.Fprint(w, `{"total":2,"latest":[{"partition":0,"sequence":3,"time":"t","reason":"malformed","subject":"s","data":"{\n"},{"partition":0,"sequence":4,"time":"t","reason":"malformed","subject":"s","bytes":"AP8="}],`+
				`"unknown_app":{"total":1,"latest":[{"partition":0,"sequence":5,"time":"t","reason":"app not found","subject":"s","data":"{}"}]}}`)
		default:
			t.Errorf("got %s", r.URL)
		}
	}))
	defer server.Close()
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"rejections", "acme/chat"}, []string{"1:7", "message.read", "g1", "bob", "503", "group ack not open"}},
		{[]string{"alerts", "--app", "acme/chat"}, []string{"label spring", "20.0 %", "half in 90m", "group g1", "25.0 %", "30 % in 2h", "2026-03-01T15:00:00.000Z"}},
		{[]string{"alerts", "--app", "acme/chat", "--json"}, []string{`{"decided_upto":null`}},
		{[]string{"rejections", "--app", "acme/chat", "--json"}, []string{`{"rejections":[{`}},
		{[]string{"poison"}, []string{"entries that are no events: 2; events of apps that do not exist: 1", "0:3", `"{\n"`, `"\x00\xff"`, "0:5", "app not found", "{}"}},
		{[]string{"poison", "--json"}, []string{`"unknown_app":{`}},
	} {
		code, out, stderr := runForTest(t, append(test.args, "--server", server.URL, "--admin-key=k")...)
		for _, want := range test.want {
			if code != exitOK || !strings.Contains(out, want) {
				t.Errorf("%q: exit %d, no %q in %s%s", test.args, code, want, out, stderr)
			}
		}
	}
}
