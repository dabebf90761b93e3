package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzPageQuery: whatever parameters a browser asks for a view with, signed in or not, it is shown
// one, or told what is wrong with them, and nothing of them is markup.
func FuzzPageQuery(f *testing.F) {
	for _, query := range []string{
		"", "view=overview", "view=x", "app=acme/chat&view=totals&span=7d", "app=acme/chat&view=groups&order=p50&min=3", "app=acme/chat&view=message&id=m1&readers=20&nonreaders=-1",
		"app=acme/chat&view=group&group=182480000001009&members=9223372036854775807&before=18446744073709551615", "app=acme/chat&view=user&user=user0000012&sent=AAAA",
		"app=acme/chat&from=2026-03-01&to=2026-03-02&tz=Asia/Kolkata", "app=acme/chat&from=9999999-01-01&to=0001-01-01", "app=acme/chat&tz=../etc/passwd", "app=acme/chat&view=find&q=<scripx>",
		"app=acme/chat&view=senders&format=csv&list=nonreaders", "view=cluster", "app=acme/chat&view=alerts&compare=previous", "app=%ff&view=%00", "%zz", "app=acme/chat&view=message&id=m1&a=x&b=y&format=json",
	} {
		f.Add(query, true)
		f.Add(query, false)
	}
	server := filled()
	in := newBrowser(f, server)
	in.signIn()
	f.Fuzz(func(t *testing.T, query string, signedIn bool) {
		r := (&http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: "/", RawQuery: query}, Host: "receipts.example", RemoteAddr: "192.0.2.7:1", Header: http.Header{}, Body: http.NoBody,
		}).WithContext(t.Context())
		if signedIn {
			r.AddCookie(in.cookie)
		}
		w := httptest.NewRecorder()
		in.page.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
		asked, _ := url.ParseQuery(query)
		for _, values := range asked {
			for _, v := range values {
				if strings.Contains(v, "<scripx>") && strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && strings.Contains(w.Body.String(), v) {
					t.Errorf("%q: %q is in the page as it is", query, v)
				}
			}
		}
	})
}
