package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ofNodes is a server that is node a of a cluster, and rebuilds for each node what it is told.
func ofNodes(t *testing.T, results map[string]string) (server *httptest.Server, asked *[]string) {
	asked = &[]string{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/cluster" {
			fmt.Fprint(w, `{"node":"a","nodes":[{"node":"a","state":"serving"},{"node":"b","state":"starting"},{"node":"c","state":"silent"}]}`)
			return
		}
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+r.URL.Query().Get("node"))
		fmt.Fprintln(w, results[r.URL.Query().Get("node")])
	}))
	t.Cleanup(server.Close)
	return server, asked
}

// With --all-nodes each node is asked for through one of them, what came of each is told with its
// name, and whatever is not well with one of them is an error.
func TestAllNodesRebuild(t *testing.T) {
	const a, b = `{"result":{"node":"a","equal":true,"events":7,"partitions":[]}}`, `{"result":{"node":"b","equal":true,"events":8,"partitions":[]}}`
	for _, test := range []struct {
		name, command string
		results       map[string]string
		out           []string
		wrong         []string
	}{
		{"all are well but for the silent one", "verify", map[string]string{"a": a, "b": b}, []string{"the state of node a\n", "the state of node b\n"}, []string{"node c: it is silent"}},
		{"as JSON", "verify --json", map[string]string{"a": a, "b": b}, []string{`{"node":"a","equal":true,"events":7,`, `{"node":"b","equal":true,"events":8,`}, []string{"node c: it is silent"}},
		{"a replay", "replay", map[string]string{"a": a, "b": b}, []string{"node a", "node b"}, []string{"node c: it is silent"}},
		{"one differs", "verify", map[string]string{"a": strings.Replace(a, "true", "false", 1), "b": b}, []string{"node a", "DIFFERENT", "node b"}, []string{"node a: " + errDifferent.Error(), "node c"}},
		{"one does not", "verify", map[string]string{"a": `{"error":{"message":"busy"}}`, "b": b}, []string{"node b"}, []string{"node a: verify: busy", "node c"}},
		{"another one answers", "verify", map[string]string{"a": a, "b": a}, []string{"node a"}, []string{`node b: the answer is of node "a"`}},
	} {
		server, asked := ofNodes(t, test.results)
		code, out, stderr := runForTest(t, append(strings.Fields(test.command), "--all-nodes", "--server", server.URL, "--admin-key=k")...)
		if code != exitFailed {
			t.Errorf("%s: exit %d", test.name, code)
		}
		for _, want := range test.out {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in %q", test.name, want, out)
			}
		}
		for _, want := range test.wrong {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: %q is not in %q", test.name, want, stderr)
			}
		}
		path := "POST /v1/admin/" + strings.Fields(test.command)[0]
		if got := strings.Join(*asked, ", "); got != path+" a, "+path+" b" {
			t.Errorf("%s: asked %s", test.name, got)
		}
	}
	if code, _, stderr := runForTest(t, "verify", "--all-nodes", "--data", t.TempDir()); code == exitOK || !strings.Contains(stderr, "--all-nodes") {
		t.Errorf("of a stopped server: exit %d, %q", code, stderr)
	}
}
