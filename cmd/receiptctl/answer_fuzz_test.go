package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"
)

// readingCommands are those that print what a server has said, for people.
var readingCommands = [][]string{
	{"app", "list"}, {"app", "show", "--app=a/b"}, {"token", "ann", "--app=a/b"}, {"message", "show", "m", "--app=a/b"},
	{"message", "list", "g", "--app=a/b"}, {"readers", "m", "--app=a/b"}, {"stats", "--app=a/b", "--limit=3"}, {"alerts", "--app=a/b"},
	{"rejections", "a/b"}, {"poison"}, {"event", "message.read", "message=m", "--app=a/b"}, {"cluster", "status"}, {"verify"},
	{"prove", "--message=m", "--user=u"},
}

// FuzzServerAnswer: whatever a server answers, each command ends, with an exit code of its own, and
// gives the terminal nothing that it would obey.
func FuzzServerAnswer(f *testing.F) {
	for command := range readingCommands {
		for _, text := range []string{
			`{}`, `null`, `{"error":{"code":"app_not_found","message":"\u001b[2J"}}`,
			`{"apps":[{"org":"a","app":"b\u009b"}],"token":"\u0007","outcomes":[{"outcome":"\u001b","reason":"x\ny"},{"outcome":"rejected","reason":"\u001b"}]}`,
			`{"total":3,"readers":[{"user":"a\tb","read_at":"2026-03-02T12:00:00.000Z","content":"\u001b]0;x\u0007"}],"users":["\u202e"],"next_cursor":"x"}`,
			`{"id":"m","from":"\u001b","group":"g","messages":[{"id":"\u009b","eligible":-1}],"rows":[{"key":"\u001b","p50_ms":1e300}],"next_cursor":"x"}`,
			`{"alerts":[{"rule":{"name":"\u001b"},"due_at":"0001-01-01T00:00:00Z"}],"rejections":[{"reason":"\u001b","user":"\n"}],"latest":[{"data":"\u001b","bytes":"/w=="}]}`,
			`{"node":"\u001b","nodes":[{"node":"\u009b","state":"\n","version":"\u001b"}],"partitions":[{"partition":0,"copies":[{"node":"\u001b","stuck":"\u001b"}],"snapshot":{"sequence":"x","made":"\u001b","digest":["\u001b"]}}],"moves":[{"from":"\u001b"}]}`,
			`{"result":{"equal":false,"partitions":[{"partition":0,"live":"\u001b","difference":{"key":"\u001b","what":"\u001b"}}],"log":{"streams":[{"stream":"\u001b"}],"findings":[{"code":"\u001b","what":"x"}]}}}` + "\n",
		} {
			f.Add(command, []byte(text))
		}
	}
	var body atomic.Pointer[[]byte]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*body.Load()) }))
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, command int, text []byte) {
		args := readingCommands[uint(command)%uint(len(readingCommands))]
		body.Store(&text)
		var out, said strings.Builder
		code := run(t.Context(), append(args, "--server", server.URL, "--admin-key=k"), nil, streams{&out, &said})
		if code < 0 || exitCode(code) > exitParked {
			t.Errorf("%q: exit %d", args, code)
		}
		if args[0] == "prove" { // the file is what the server made
			return
		}
		for _, printed := range []string{out.String(), said.String()} {
			if obeyed := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }; !utf8.ValidString(printed) || strings.ContainsFunc(printed, obeyed) {
				t.Errorf("%q: %q is printed as %q", args, text, printed)
			}
		}
	})
}
