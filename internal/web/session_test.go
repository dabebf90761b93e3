package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestNumbersOfAppsTakeASession(t *testing.T) {
	b := newBrowser(t, filled())
	start := b.get("/", 200)
	start.has("Sign in", "1\u202f234\u202f567", "Ready", "v1.2.3")
	start.lacks("acme/chat", "Sign out")
	for _, query := range []string{
		"?app=acme/chat", "?app=acme/chat&view=groups", "?app=acme/chat&view=senders", "?app=acme/chat&view=message&id=m1",
		"?app=acme/none", "?app=acme/chat&view=none",
	} {
		refused := b.get("/"+query, http.StatusUnauthorized)
		refused.has("Sign in")
		refused.lacks("user0000012", "18248", "There is no app", "no view")
	}
	if len(b.server.queries) > 0 {
		t.Error("a refused view asked for numbers")
	}
	b.signIn()
	b.get("/", 200).has("acme/chat", "acme/support", "Sign out")
	b.get("/?app=acme/chat", 200).has("Overview")
	b.get("/?app=acme/none", 404).has("There is no app of this name")
	b.get("/?app=acme/chat&view=none", 404).has("no view")
}

func TestSessionIsACookieForTwelveHours(t *testing.T) {
	b := newBrowser(t, filled())
	res := b.post("/?app=acme/chat&view=groups", "do", "sign-in", "key", testKey)
	if res.Code != http.StatusSeeOther || res.Header().Get("Location") != "./?app=acme/chat&view=groups" {
		t.Fatalf("%d to %q", res.Code, res.Header().Get("Location"))
	}
	text := res.Header().Get("Set-Cookie")
	for _, attribute := range []string{"HttpOnly", "SameSite=Strict", "Max-Age=43200"} {
		if !strings.Contains(text, attribute) {
			t.Errorf("cookie %q lacks %s", text, attribute)
		}
	}
	if strings.Contains(text, "Secure") || strings.Contains(text, testKey) {
		t.Errorf("cookie %q", text)
	}
	b.server.advance(sessionAge - time.Second)
	b.get("/?app=acme/chat", 200)
	b.server.advance(time.Second)
	b.get("/?app=acme/chat", 401)

	b.signIn()
	b.header.Set("X-Forwarded-Proto", "https")
	if text := b.post("/", "do", "sign-in", "key", testKey).Header().Get("Set-Cookie"); !strings.Contains(text, "Secure") {
		t.Errorf("over TLS: cookie %q", text)
	}
	for _, forged := range []string{"", "x", strings.Repeat("A", 26)} {
		b.cookie = &http.Cookie{Name: cookieName, Value: forged}
		b.get("/?app=acme/chat", 401)
	}
}

func TestSigningOutEndsTheSessionForGood(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	kept := *b.cookie
	res := b.post("/?app=acme/chat", "do", "sign-out")
	if res.Code != http.StatusSeeOther || res.Header().Get("Location") != "./" || b.cookie != nil {
		t.Fatalf("%d to %q, cookie %v", res.Code, res.Header().Get("Location"), b.cookie)
	}
	b.cookie = &kept
	b.get("/?app=acme/chat", 401)
}

func TestSessionsAreBounded(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	first := *b.cookie
	for range maxSessions {
		b.server.advance(time.Second)
		b.signIn()
	}
	if n := len(b.page.sessions.expires); n != maxSessions {
		t.Errorf("%d sessions", n)
	}
	b.get("/?app=acme/chat", 200)
	b.cookie = &first
	b.get("/?app=acme/chat", 401)
}

func TestGuessingTheKeyIsLimited(t *testing.T) {
	b := newBrowser(t, filled())
	guess := func(key string, want int, wait ...string) {
		t.Helper()
		res := b.post("/", "do", "sign-in", "key", key)
		if res.Code != want {
			t.Fatalf("guessed %q: %d, want %d", key, res.Code, want)
		}
		if got := res.Header()["Retry-After"]; !slices.Equal(got, wait) {
			t.Errorf("retry after %q, want %q", got, wait)
		}
	}
	for range attemptsBurst {
		guess("wrong", http.StatusForbidden)
	}
	guess(testKey, http.StatusTooManyRequests, "10") // right or wrong is not told any more
	b.remote = "[2001:db8::1]:9"
	guess("", http.StatusForbidden)
	for range attemptsBurst - 1 {
		guess(testKey+"x", http.StatusForbidden)
	}
	b.remote = "[2001:db8::2]:9" // the same network
	guess(testKey, http.StatusTooManyRequests, "10")
	b.server.advance(attemptEvery)
	guess("wrong", http.StatusForbidden)
	b.server.advance(attemptEvery)
	guess(testKey, http.StatusSeeOther)
	guess("wrong", http.StatusForbidden) // the right key clears the attempts
	for i := range totalBurst {
		b.remote = fmt.Sprintf("192.0.2.%d:9", i)
		b.post("/", "do", "sign-in", "key", "wrong")
	}
	b.remote = "198.51.100.1:9"
	guess("wrong", http.StatusTooManyRequests, "1")
	if n := testutil.ToFloat64(b.page.signIns.WithLabelValues("ok")); n != 1 {
		t.Errorf("%v sign-ins counted", n)
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	for name, header := range map[string]http.Header{
		"site": {"Sec-Fetch-Site": {"cross-site"}}, "same site": {"Sec-Fetch-Site": {"same-site"}}, "origin": {"Origin": {"http://elsewhere.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			b.header = header
			for _, do := range []string{"sign-in", "sign-out"} {
				if res := b.post("/", "do", do, "key", testKey); res.Code != http.StatusForbidden || res.Header().Get("Set-Cookie") != "" {
					t.Errorf("%s: %d", do, res.Code)
				}
			}
		})
	}
	b.header = http.Header{"Sec-Fetch-Site": {"same-origin"}}
	if res := b.post("/", "do", "dance"); res.Code != http.StatusBadRequest {
		t.Errorf("an unknown form: %d", res.Code)
	}
	if res := b.post("/", "do", "sign-in", "key", strings.Repeat("k", 10<<10)); res.Code != http.StatusBadRequest {
		t.Errorf("a large form: %d", res.Code)
	}
	b.get("/?app=acme/chat", 200)
}
