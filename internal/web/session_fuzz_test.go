package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzSession: whatever cookies a browser sends, it is signed in by the one that it was given,
// until that ends, and by nothing else.
func FuzzSession(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	s := newSessions(func() time.Time { return now }, nil)
	given := httptest.NewRecorder()
	if err := s.start(given, httptest.NewRequest(http.MethodPost, "/", nil)); err != nil {
		f.Fatal(err)
	}
	const other = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	id := given.Result().Cookies()[0].Value
	f.Add("", false)
	f.Add(cookieName+"=GIVEN", false)
	f.Add(cookieName+"=GIVEN", true)
	f.Add(cookieName+"="+other, false)
	f.Add(cookieName+"=; x=GIVEN", false)
	f.Add("x=\"; "+cookieName+"=GIVEN", false)
	f.Fuzz(func(t *testing.T, cookies string, late bool) {
		cookies = strings.ReplaceAll(cookies, "GIVEN", id) // another one in each process
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", cookies)
		age := time.Duration(0)
		if late {
			age = sessionAge
		}
		asked := newSessions(func() time.Time { return now.Add(age) }, nil)
		asked.expires = s.expires
		got := asked.valid(r)
		first, err := r.Cookie(cookieName)
		if want := err == nil && first.Value == id && !late; got != want {
			t.Errorf("%q: signed in %v, want %v", cookies, got, want)
		}
	})
}
