package demo

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// host gives everybody the token "t-USER".
type host struct{ err error }

func (h host) Begin(_ context.Context, users []string) (string, []string, error) {
	tokens := make([]string, len(users))
	for i, user := range users {
		tokens[i] = "t-" + user
	}
	return "77", tokens, h.err
}

func newPage(t *testing.T, h Host) (p *Page, sdk string) {
	t.Helper()
	sdk = filepath.Join(t.TempDir(), "sdk.js")
	if err := os.WriteFile(sdk, []byte("// the SDK\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return New(Config{Host: h, SDK: sdk, Logger: slog.New(slog.DiscardHandler)}), sdk
}

func get(p *Page, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestFilesOfThePage(t *testing.T) {
	p, _ := newPage(t, host{})
	for path, kind := range map[string]string{
		"/demo": "text/html", "/demo/sdk.js": "text/javascript", "/demo/main.js": "text/javascript", "/demo/person.js": "text/javascript",
		"/demo/window.js": "text/javascript", "/demo/style.css": "text/css", "/demo/icon.svg": "image/svg+xml",
	} {
		w := get(p, "GET", path)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d, %s", path, w.Code, w.Header())
		}
	}
	policy := get(p, "GET", "/demo").Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("policy: %s", policy)
	}
	for _, path := range []string{"/demo/demo.go", "/demo/demo.html", "/demo/..%2fdemo.html", "/demo/static", "/demo/x/y"} {
		if w := get(p, "GET", path); w.Code == http.StatusOK {
			t.Errorf("%s is served: %s", path, w.Body)
		}
	}
}

// TestVisitsDoNotMeet: each has its own people, with a token for each.
func TestVisitsDoNotMeet(t *testing.T) {
	p, _ := newPage(t, host{})
	seen := map[string]bool{}
	for range 3 {
		w := get(p, "POST", "/demo/visits")
		var v visit
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d, %v: %s", w.Code, err, w.Body)
		}
		if v.AppKey != AppKey || v.Group != "77" || len(v.People) != len(people) {
			t.Errorf("visit: %+v", v)
		}
		for i, who := range v.People {
			if who.Name != people[i] || who.Token != "t-"+who.User || seen[who.User] {
				t.Errorf("%+v", who)
			}
			seen[who.User] = true
		}
	}
}

func TestVisitsAreLimited(t *testing.T) {
	p, _ := newPage(t, host{})
	for range visitsAtOnce {
		get(p, "POST", "/demo/visits")
	}
	if w := get(p, "POST", "/demo/visits"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d, %s", w.Code, w.Header())
	}
}

func TestAVisitThatCannotBegin(t *testing.T) {
	p, _ := newPage(t, host{err: errors.New("the log is full")})
	if w := get(p, "POST", "/demo/visits"); w.Code != http.StatusServiceUnavailable || w.Body.Len() > 0 {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

func TestMissingSDK(t *testing.T) {
	p, sdk := newPage(t, host{})
	if err := os.Remove(sdk); err != nil {
		t.Fatal(err)
	}
	w := get(p, "GET", "/demo")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "npm install") || !strings.Contains(w.Body.String(), sdk) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	if w := get(p, "GET", "/demo/sdk.js"); w.Code != http.StatusNotFound {
		t.Errorf("sdk.js: %d", w.Code)
	}
}
