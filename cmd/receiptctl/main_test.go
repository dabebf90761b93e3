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
	parser, err := kong.New(&cli{})
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
