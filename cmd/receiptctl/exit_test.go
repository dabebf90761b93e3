package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts go by the exit code: what doctor and verify are for is a failure if it is found, in
// either format.
func TestFindingsFailTheCommand(t *testing.T) {
	healthy, damaged := t.TempDir(), t.TempDir()
	witness := filepath.Join(damaged, "witness")
	if err := os.MkdirAll(witness, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(witness, "witness.0"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The server's own settings count, from the same file.
	reserved := t.TempDir()
	settings := filepath.Join(reserved, "receiptd.yaml")
	if err := os.WriteFile(settings, []byte("min-free: 1000TiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(equal bool) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"result":{"equal":%v,"partitions":[{"partition":0,"live":"aa","replayed":"bb"}]}}`+"\n", equal)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	equal, different := serve(true), serve(false)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"doctor", "--data", healthy}, exitOK, ""},
		{[]string{"doctor", "--data", damaged}, exitFailed, "a start would refuse this data"},
		{[]string{"doctor", "--config", settings, "--data", reserved}, exitFailed, "a start would refuse this data"},
		{[]string{"verify", "--admin-key=k", "--server", equal}, exitOK, ""},
		{[]string{"verify", "--admin-key=k", "--server", different}, exitFailed, errDifferent.Error()},
	} {
		for _, format := range [][]string{nil, {"--json"}} {
			args := append(test.args, format...)
			code, out, stderr := runForTest(t, args...)
			if code != test.code || !strings.Contains(stderr, test.want) || out == "" {
				t.Errorf("%q: exit %d, want %d: %s%s", args, code, test.code, out, stderr)
			}
		}
	}
}
