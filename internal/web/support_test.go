package web

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const testKey = "the-admin-key"

// noon is when the tests are.
var noon = time.Date(2026, 3, 4, 12, 20, 0, 0, time.UTC)

// browser is a client of a page that keeps its cookie.
type browser struct {
	t      testing.TB
	server *fakeServer
	page   *Page
	cookie *http.Cookie
	header http.Header
	remote string
}

func newBrowser(t testing.TB, f *fakeServer) *browser {
	return &browser{t: t, server: f, page: f.page(), header: http.Header{}, remote: "192.0.2.200:1234"}
}

func (b *browser) recorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	b.t.Helper()
	r.Host, r.RemoteAddr = "receipts.example", b.remote
	for name, values := range b.header {
		r.Header[name] = values
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := b.recorder()
	b.page.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return w
}

// viewed is a view that a browser was sent.
type viewed struct {
	t      testing.TB
	path   string
	header http.Header
	body   string
}

// get asks for a view, which has to come with a status unless that is 0.
func (b *browser) get(path string, status int) viewed {
	b.t.Helper()
	w := b.send(httptest.NewRequest(http.MethodGet, path, nil))
	if status != 0 && w.Code != status {
		b.t.Fatalf("GET %s: %d, want %d\n%s", path, w.Code, status, w.Body)
	}
	return viewed{b.t, path, w.Header(), w.Body.String()}
}

func (b *browser) post(path string, pairs ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

func (b *browser) signIn() {
	b.t.Helper()
	if w := b.post("/", "do", "sign-in", "key", testKey); w.Code != http.StatusSeeOther || b.cookie == nil {
		b.t.Fatalf("signed in with %d", w.Code)
	}
}

func (v viewed) has(texts ...string) {
	v.t.Helper()
	for _, text := range texts {
		if !strings.Contains(v.body, text) && !strings.Contains(html.UnescapeString(v.body), text) {
			v.t.Errorf("%s does not have %q", v.path, text)
		}
	}
}

func (v viewed) lacks(texts ...string) {
	v.t.Helper()
	for _, text := range texts {
		if strings.Contains(v.body, text) {
			v.t.Errorf("%s has %q", v.path, text)
		}
	}
}
