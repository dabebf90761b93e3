package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/schema"
)

// asked is a request that a command made.
type asked struct{ call, body string }

// answering is a server that gives the next of the answers to each request.
func answering(t *testing.T, answers ...string) (server *httptest.Server, requests *[]asked) {
	t.Helper()
	requests = &[]asked{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*requests = append(*requests, asked{r.Method + " " + r.URL.String(), string(body)})
		answer := answers[min(len(*requests), len(answers))-1]
		if strings.Contains(answer, `"error"`) {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server, requests
}

func TestEventTellsItsOutcome(t *testing.T) {
	one := func(outcome string) string { return `{"accepted":1,"outcomes":[{"index":0,` + outcome + `}]}` }
	read := []string{"message.read", "message=7", "user=bob", "group=g"}
	const readBody = `{"group":"g","message":"7","type":"message.read","user":"bob"}`
	for _, test := range []struct {
		args               []string
		answer, body, want string
		code               int
	}{
		{read, one(`"outcome":"applied"`), readBody, "applied\n", 0},
		{read, one(`"outcome":"duplicate"`), readBody, "duplicate\n", 0},
		{read, one(`"outcome":"rejected","code":503,"reason":"group ack not open"`), readBody, "rejected: group ack not open (503)\n", 3},
		{read, one(`"outcome":"parked"`), readBody, "parked: it waits for its message\n", 4},
		{append(read, "--json"), one(`"outcome":"parked"`), readBody, one(`"outcome":"parked"`) + "\n", 4},
		{
			[]string{"message.sent", "id=1", "from=ann", "peer=true", "receipt", "silent=false", "time=1700000000000", `content:="a=b"`}, one(`"outcome":"applied"`),
			`{"content":"a=b","from":"ann","id":"1","peer":"true","receipt":true,"silent":false,"time":1700000000000,"type":"message.sent"}`, "applied\n", 0,
		},
		{
			[]string{"group.created", "group=g", "owner=ann", "members=ben,17", `admins:=["a,b"]`}, one(`"outcome":"applied"`),
			`{"admins":["a,b"],"group":"g","members":["ben","17"],"owner":"ann","type":"group.created"}`, "applied\n", 0,
		},
		{[]string{`[{"type":"x"},{"type":"y"}]`}, `{"outcomes":[{"outcome":"parked"},{"outcome":"rejected","code":1,"reason":"r"},{"outcome":"applied"}]}`, `[{"type":"x"},{"type":"y"}]`, "parked: it waits for its message\nrejected: r (1)\napplied\n", 3},
	} {
		server, requests := answering(t, test.answer)
		args := append([]string{"event", "--app=acme/chat", "--server", server.URL, "--admin-key=k"}, test.args...)
		code, out, stderr := runForTest(t, args...)
		if code != test.code || out != test.want || stderr != "" {
			t.Errorf("%q: exit %d, %q, %q", test.args, code, out, stderr)
		}
		if len(*requests) != 1 || (*requests)[0] != (asked{"POST /v1/apps/acme/chat/events?wait=applied", test.body}) {
			t.Errorf("%q: asked %q", test.args, *requests)
		}
	}
}

// TestEventNamesAllFields holds that the help of event has each type with all of its fields.
func TestEventNamesAllFields(t *testing.T) {
	var d struct {
		Components struct {
			Schemas map[string]struct {
				Properties    map[string]any
				Discriminator struct{ Mapping map[string]string }
			}
		}
	}
	if err := yaml.Unmarshal(schema.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(eventCommand{}.Help()) {
		if name, fields, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			lines[name] = strings.ReplaceAll(fields, " or ", ", ")
		}
	}
	schemas := d.Components.Schemas
	kinds := schemas["Event"].Discriminator.Mapping
	if len(kinds) == 0 {
		t.Fatal("no types of events")
	}
	for kind, ref := range kinds {
		var told []string
		for f := range strings.SplitSeq(lines[kind], ",") {
			told = append(told, strings.TrimSpace(f))
		}
		for field := range schemas[path.Base(ref)].Properties {
			if of := []string{"type", "time", "event_id", "strict"}; !slices.Contains(of, field) && !slices.Contains(told, field) {
				t.Errorf("%s: no %s in %q", kind, field, lines[kind])
			}
		}
	}
}

func TestCommandsAskAndPrint(t *testing.T) {
	readers := `{"total":3,"readers":[{"user":"bob","read_at":"2026-03-02T12:00:00.000Z","content":"ok"}],"next_cursor":"x"}`
	others := `{"total":1,"users":["eve"],"next_cursor":""}`
	both := `{"total":3,"readers":[{"user":"bob","read_at":"2026-03-02T12:00:00.000Z","content":"ok"}],"users":["eve","finn"]}`
	message := `{"id":"m/1","from":"ann","group":"g","sent_at":"2026-03-01T12:00:00.000Z","receipt_requested":true,"recalled":false,"eligible":5,"delivered":2,"read":2,"first_read_at":"2026-03-02T12:00:00.000Z","last_read_at":null}`
	for _, test := range []struct {
		args   []string
		answer string
		calls  string // that were made
		body   string // of the first
		want   []string
	}{
		{[]string{"app", "list"}, `{"apps":[{"org":"acme","app":"chat"},{"org":"b","app":"c"}]}`, "GET /v1/apps", "", []string{"acme/chat\nb/c\n"}},
		{[]string{"app", "list", "--json"}, `{"apps":[]}`, "GET /v1/apps", "", []string{"[]\n"}},
		{[]string{"app", "show"}, `{"open_registration":false,"group_receipts":{"validity":"72h","max_group_size":200}}`, "GET /v1/apps/acme/chat", "", []string{"group_receipts.validity        72h", "open_registration              false"}},
		{[]string{"app", "show"}, `{"alerts":[{"name":"quiet <1>","after":"24h"}],"n":1000000}`, "GET /v1/apps/acme/chat", "", []string{"alerts   [{\"after\":\"24h\",\"name\":\"quiet <1>\"}]\nn        1000000\n"}},
		{[]string{"app", "configure", `alerts=[{"after":"24h"}]`}, `{"a":1}`, "PUT /v1/apps/acme/chat", `{"alerts":[{"after":"24h"}]}`, nil},
		{[]string{"app", "configure", "group_receipts.enabled=true", "group_receipts.validity=1h", "group_receipts.max_group_size=5"}, `{"a":1}`, "PUT /v1/apps/acme/chat", `{"group_receipts":{"enabled":true,"max_group_size":5,"validity":"1h"}}`, []string{"a        1"}},
		{[]string{"app", "configure"}, `{"a":1}`, "PUT /v1/apps/acme/chat", `{}`, []string{"a        1"}},
		{[]string{"token", "a b", "--ttl=1h"}, `{"token":"abc","expires_at":"2026-03-02T12:00:00.000Z"}`, "POST /v1/apps/acme/chat/users/a%20b/tokens", `{"ttl":"1h"}`, []string{"abc\n"}},
		{[]string{"message", "show", "m/1", "--group=g"}, message, "GET /v1/apps/acme/chat/messages/m%2F1?group=g", "", []string{"sent        2026-03-01T12:00:00.000Z\nread        by 2 of 5\n", "last read   never"}},
		{[]string{"message", "show", "m"}, strings.Replace(message, `"group":"g"`, `"to":"bob"`, 1), "GET /v1/apps/acme/chat/messages/m", "", []string{"delivered   to 2 of 5\nread        by 2 of 5\n"}},
		{[]string{"message", "show", "m", "--json"}, message, "GET /v1/apps/acme/chat/messages/m", "", []string{message + "\n"}},
		{[]string{"message", "list", "a team", "--limit=2"}, `{"messages":[` + message + `],"next_cursor":"x"}`, "GET /v1/apps/acme/chat/groups/a%20team/messages?limit=2", "", []string{"2026-03-01T12:00:00.000Z  m/1      ann   by 2 of 5  never"}},
		{[]string{"readers", "m", "--limit=2", "--users=a,b"}, both, "GET /v1/apps/acme/chat/messages/m/", "", []string{"3 have read it, 1 of them here\n", "bob   2026-03-02T12:00:00.000Z  ok", "3 have not, 2 of them here: eve, finn\n"}},
		{[]string{"stats", "--group-by=group", "--since=2026-01-01T00:00:00Z", "--sender=ann"}, `{"rows":[{"key":"g1","messages":2,"eligible":10,"read":5,"read_rate":0.5,"p50_ms":1500,"p90_ms":null}]}`,
			"GET /v1/apps/acme/chat/analytics/read-rate?from=2026-01-01T00%3A00%3A00Z&group_by=group&limit=100&sender=ann", "", []string{"GROUP  MESSAGES", "g1     2         10", "50.0 %  1.5s              -"}},
	} {
		server, requests := answering(t, test.answer)
		args := append(test.args, "--server", server.URL, "--admin-key=k")
		if test.args[0]+test.args[1] != "applist" {
			args = append(args, "--app=acme/chat")
		}
		code, out, stderr := runForTest(t, args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%q: exit %d, %s", test.args, code, stderr)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: no %q in\n%s", test.args, want, out)
			}
		}
		if first := (*requests)[0]; !strings.HasPrefix(first.call, test.calls) || first.body != test.body {
			t.Errorf("%q: asked %q", test.args, *requests)
		}
	}
	server, requests := answering(t, `{"rows":[{"key":"acme#chat"}],"total":3,"next_cursor":"x"}`, `{"rows":[{"key":"acme#b"}],"total":3,"next_cursor":"y"}`)
	code, out, stderr := runForTest(t, "stats", "--all-apps", "--since=1", "--limit=2", "--server", server.URL, "--admin-key=k")
	const asked = "GET /v1/analytics/read-rate?from=1&group_by=app&limit=1"
	if code != exitOK || !strings.Contains(out, "APP        MESSAGES") || !strings.Contains(out, "\nacme#chat") || !strings.Contains(out, "\nacme#b") ||
		stderr != "2 of 3 rows: --limit says how many\n" || len(*requests) != 2 || (*requests)[1].call != strings.Replace(asked, "from", "cursor=x&from", 1) {
		t.Errorf("exit %d, %q, asked %q\n%s", code, stderr, *requests, out)
	}
	server, _ = answering(t, `{"messages":[`+message+`],"next_cursor":"x"}`)
	if _, out, _ := runForTest(t, "message", "list", "g", "--app=acme/chat", "--server", server.URL, "--admin-key=k"); !strings.HasSuffix(out, "there are older ones: --limit says how many\n") {
		t.Errorf("a part of the messages is told as\n%s", out)
	}
	server, _ = answering(t, readers, others)
	code, out, _ = runForTest(t, "readers", "m", "--json", "--app=acme/chat", "--server", server.URL, "--admin-key=k")
	var answer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitOK || len(answer) != 2 {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
}

// An error says what to do.
func TestErrorsOfQuestions(t *testing.T) {
	server, requests := answering(t, `{"error":{"code":"app_not_found","message":"no such app"}}`)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"stats"}, exitUsage, "export RECEIPTD_APP=ORG/APP"},
		{[]string{"stats", "--app=acme"}, exitUsage, `"acme" is not ORG/APP`},
		{[]string{"stats", "--all-apps", "--label=spring"}, exitUsage, "--label: names something in one app"},
		{[]string{"rejections", "acme"}, exitUsage, `"acme" is not ORG/APP`},
		{[]string{"rejections"}, exitUsage, "--app ORG/APP"},
		{[]string{"event", "--app=a/b", "message.read", "=x"}, exitFailed, "is not NAME=VALUE"},
		{[]string{"event", "--app=a/b", "message.read", "members:=[x"}, exitFailed, "after := there is JSON"},
		{[]string{"event", "--app=a/b", "{"}, exitFailed, "is not JSON"},
		{[]string{"event", "--app=a/b", "{}", "user=x"}, exitFailed, "has its fields in it"},
		{[]string{"demo", "--apps=0", "--messages=1000000"}, exitUsage, "2 problems"},
	} {
		code, out, stderr := runForTest(t, append(test.args, "--server", server.URL, "--admin-key=k")...)
		if code != test.code || !strings.Contains(stderr, test.want) || out != "" {
			t.Errorf("%q: exit %d, %s%s", test.args, code, out, stderr)
		}
	}
	if len(*requests) > 0 {
		t.Errorf("asked %q", *requests)
	}
	code, _, stderr := runForTest(t, "stats", "--app=a/b", "--server", server.URL, "--admin-key=k")
	if code != exitFailed || !strings.Contains(stderr, "no such app") || !strings.Contains(stderr, "receiptctl app configure makes one") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
