package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// TestPageInABrowser has Chromium click through every view of the page, wide and narrow, light and
// dark, with real traffic in it: see browser/page.mjs for what must hold. SHOTS=DIR keeps a picture
// of each view.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := newLoad(s, random(t).Uint64(), 2)
	group, message := pageMessage(s, l.app)
	s.must("PUT", "/v1/apps/acme/empty", map[string]any{}, nil)
	l.start()
	eventually(t, "there is traffic to look at", func() bool { return l.accepted() > 20_000 })
	l.finish()
	defer trickle(s, l.app, group, message)()

	base, key := s.address()
	script := browserScript(t, "page.mjs",
		"BASE="+base, "KEY="+key, "APP="+strings.Replace(l.app, "#", "/", 1), "EMPTY_APP=acme/empty", "GROUP="+group, "MESSAGE="+message)
	out, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestPageUnderAttack has Chromium do to the page what a page elsewhere and users with hostile
// names do: see browser/hostile.mjs for what must hold.
func TestPageUnderAttack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const app = "acme#hostile"
	s.must("PUT", appPath(app), map[string]any{"group_receipts": map[string]any{"enabled": true}}, nil)
	names := []string{
		`<img src=x onerror=window.pwned=1>`, `"><script>window.pwned=1</script>`, `javascript:window.pwned=1`,
		`__proto__`, `constructor`, "\u202egnp.exe\u202c", strings.Repeat("W", 128), `{{.Key}}'"&amp;`, "a\u0301\u0301\u0301\u0301",
	}
	for _, name := range names {
		s.apply(app, events.Event{App: app, Kind: events.GroupCreated, Group: name, User: name, Members: []string{"reader"}},
			events.Event{App: app, Kind: events.MessageSent, Group: name, User: name, Message: name, Receipt: true, Label: name[:min(64, len(name))]},
			events.Event{App: app, Kind: events.MessageRead, Group: name, User: "reader", Message: name, Content: name})
	}
	base, key := s.address()
	text, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	script := browserScript(t, "hostile.mjs", "BASE="+base, "KEY="+key, "APP=acme/hostile", "NAMES="+string(text))
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// trickle sends an event now and then until the function it returns is called, so that the page has
// something to refresh and the browser the processors.
func trickle(s *server, app, group, message string) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				again := lines([]events.Event{{App: app, Kind: events.MessageRead, Group: group, User: "page-user-001", Message: message}})
				if _, err := s.do("POST", appPath(app)+"/events", ndjson, again); err != nil {
					s.t.Errorf("post: %v", err)
				}
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// pageMessage makes a message with 105 readers and 24 who have not read it.
func pageMessage(s *server, app string) (group, message string) {
	group, message = "page-group", "page-message"
	var members []string
	for i := range 129 {
		members = append(members, fmt.Sprintf("page-user-%03d", i))
	}
	s.apply(app, events.Event{App: app, Kind: events.GroupCreated, Group: group, User: "page-author", Members: members},
		events.Event{App: app, Kind: events.MessageSent, Group: group, User: "page-author", Message: message, Receipt: true, Label: "spring"})
	var reads []events.Event
	for _, user := range members[:105] {
		reads = append(reads, events.Event{App: app, Kind: events.MessageRead, Group: group, User: user, Message: message})
	}
	s.apply(app, reads...)
	return group, message
}

// browserScript is a script of browser/, to be run by Node.js with these settings.
func browserScript(t *testing.T, name string, settings ...string) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat(filepath.Join("browser", "node_modules")); err != nil {
		t.Fatalf("%v\nThe browser's tests need Node.js, Chromium and some packages, which .ci/test installs; by hand: npm ci --prefix internal/lab/e2e/browser", err)
	}
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		var err error
		if chromium, err = exec.LookPath("chromium"); err != nil {
			t.Fatalf("%v\n.ci/test installs it; CHROMIUM=FILE names another", err)
		}
	}
	script := exec.CommandContext(t.Context(), "node", name)
	script.Dir = "browser"
	script.Env = append(environ(settings...), "CHROMIUM="+chromium)
	script.WaitDelay = 5 * time.Second
	return script
}
