package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sdkBundle = "sdk/node_modules/easemob-websdk/Easemob-chat.js"

// TestDemoInABrowser has Chromium click through the demo page: see browser/demo.mjs for what must
// hold. What was said and read there is in the log like everything else. SHOTS=DIR keeps pictures.
func TestDemoInABrowser(t *testing.T) {
	t.Parallel()
	npmInstalled(t, "sdk", "easemob-websdk")
	s := startServer(t, "--demo", "--demo-sdk="+sdkBundle)
	base, _ := s.address()
	if out, err := browserScript(t, "demo.mjs", "BASE="+base).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	caughtUp(t, s)
	s.tells(s.verify(), []string{"app.configured", "group.created", "message.sent", "message.delivered", "message.read", "conversation.read", "statistic.seen"})
}

// TestDemoWithoutTheSDK: the page says how to install the SDK, and works without a restart once
// that is done.
func TestDemoWithoutTheSDK(t *testing.T) {
	npmInstalled(t, "sdk", "easemob-websdk")
	file := filepath.Join(t.TempDir(), "sdk.js")
	s := startServer(t, "--demo", "--demo-sdk="+file)
	page := func(path string, status int) string {
		t.Helper()
		base, _ := s.address()
		answer, err := web.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != status {
			t.Fatalf("%s: %s, %v: %s", path, answer.Status, err, text)
		}
		return string(text)
	}
	text := page("/demo", http.StatusServiceUnavailable)
	if !strings.Contains(text, "npm install --no-save easemob-websdk@") || !strings.Contains(text, file) {
		t.Errorf("it does not say what to do: %s", text)
	}
	bundle, err := filepath.Abs(sdkBundle)
	if err == nil {
		err = os.Symlink(bundle, file)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text := page("/demo", http.StatusOK); !strings.Contains(text, "demo/sdk.js") {
		t.Errorf("it is not the demo: %s", text)
	}
	page("/demo/sdk.js", http.StatusOK)

	s.stop()
	s.args = nil
	s.start()
	page("/demo", http.StatusNotFound) // off by default
}
