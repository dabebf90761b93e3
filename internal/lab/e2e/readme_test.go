package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// TestREADMETour pastes the README's tour into a shell, line by line, and holds what it prints
// against what the README says it does. Only the address, the built programs and the seconds that a
// person gives the server to start are replaced: it may take longer on a machine with much else to
// do.
func TestREADMETour(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## A tour\n")
	section, _, _ = strings.Cut(section, "\n## ")
	script := ""
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		script += block[1]
	}
	address := freeAddress(t)
	script = strings.ReplaceAll(script, "127.0.0.1:8080", address)
	started := "& for i in {1..1200}; do curl -fso /dev/null http://" + address + "/readyz && break; sleep 0.1; done"
	if n := strings.Count(script, "& sleep 3"); n != 2 {
		t.Errorf("the tour gives the server time to start %d times", n)
	}
	script = strings.ReplaceAll(script, "& sleep 3", started)
	script = strings.Replace(script, "go build -o bin/ ./cmd/...", "mkdir bin && cp "+programs+"/* bin/", 1)
	// It stops the server, which still writes where the test cleans up.
	script += "kill $!\nwait\n"

	shell := exec.Command("bash", "-m")
	shell.Dir = t.TempDir()
	shell.Env = append(environ(), "RECEIPTD_LISTEN="+address, "RECEIPTD_SERVER=http://"+address)
	shell.Stdin = strings.NewReader(script)
	shell.WaitDelay = 10 * time.Second
	printed, err := shell.CombinedOutput()
	out := string(printed)
	if err != nil {
		t.Fatalf("the tour ended with %v:\n%s", err, out)
	}
	readers := `(?s)2 have read it\n[^\n]*\ncleo [^\n]*\nben [^\n]*\n3 have not: dan, eve, finn\n`
	steps := []string{
		`group_receipts.enabled +true\n`,
		`applied\n`, // group
		`applied\n`, // message
		`applied\n`, // cleo
		`applied\n`, // ben
		`duplicate\n`,
		`group_receipts.validity +1s\n`,
		`rejected: group ack msg not found \(503\)\n`,
		readers, // before kill -9
		readers, // after it
		`: equal\n`,
		`{"total":2,"readers":\[{"user":"cleo",`, // by curl
	}
	rest := out
	for i, step := range steps {
		at := regexp.MustCompile(step).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("step %d: no %s in the rest of\n%s", i+1, step, out)
		}
		rest = rest[at[1]:]
	}
}

// freeAddress returns a loopback address that nobody listens at.
func freeAddress(t testing.TB) string { return natstest.FreeAddresses(t, 1)[0] }
