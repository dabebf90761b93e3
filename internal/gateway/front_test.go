package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestNamesOfOthersAreRefused(t *testing.T) {
	served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, x := range []struct {
		front Front
		host  string
		want  int
	}{
		{Front{}, "anything.example", 200},
		{Front{Local: true}, "rebound.example:8080", 421},
		{Front{Local: true}, "127.0.0.1.rebound.example", 421},
		{Front{Local: true}, "localhost:8080", 200},
		{Front{Local: true}, "LOCALHOST.", 200},
		{Front{Local: true}, "127.0.0.1:8080", 200},
		{Front{Local: true}, "[::1]:8080", 200},
		{Front{Local: true, Hosts: []string{"chat.example"}}, "chat.example", 200},
		{Front{Hosts: []string{"chat.example"}}, "Chat.Example:443", 200},
		{Front{Hosts: []string{"chat.example"}}, "other.example", 421},
		{Front{Hosts: []string{"chat.example"}}, "10.0.0.1", 200},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = x.host
		w := httptest.NewRecorder()
		x.front.Next = served
		x.front.ServeHTTP(w, r)
		if w.Code != x.want {
			t.Errorf("%q with %v, local %v: %d, want %d", x.host, x.front.Hosts, x.front.Local, w.Code, x.want)
		}
	}
}

func TestOnlyProxiesSayWhomTheyServe(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, x := range []struct {
		remote, forwarded, want string
		proxies                 []netip.Prefix
	}{
		{"198.51.100.7:1", "203.0.113.9", "198.51.100.7:1", nil},
		{"198.51.100.7:1", "203.0.113.9", "198.51.100.7:1", proxies},
		{"10.0.0.1:1", "203.0.113.9", "203.0.113.9:0", proxies},
		// What comes first is the client's own claim.
		{"10.0.0.1:1", "8.8.8.8, 203.0.113.9", "203.0.113.9:0", proxies},
		{"10.0.0.1:1", "8.8.8.8, 203.0.113.9, 10.0.0.2", "203.0.113.9:0", proxies},
		{"10.0.0.1:1", "", "10.0.0.1:1", proxies},
		{"10.0.0.1:1", "nonsense", "10.0.0.1:1", proxies},
		{"[::ffff:10.0.0.1]:1", "2001:db8::1", "[2001:db8::1]:0", proxies},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = x.remote
		if x.forwarded != "" {
			r.Header.Set("X-Forwarded-For", x.forwarded)
		}
		got := ""
		f := Front{Proxies: x.proxies, Next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })}
		f.ServeHTTP(httptest.NewRecorder(), r)
		if got != x.want {
			t.Errorf("from %s for %q: %s, want %s", x.remote, x.forwarded, got, x.want)
		}
	}
	for remote, want := range map[string]string{
		"1.2.3.4:5": "1.2.3.4", "[2001:db8::1]:2": "2001:db8::", "[2001:db8::ffff]:2": "2001:db8::", "nonsense": "",
		"[::ffff:1.2.3.4]:5": "1.2.3.4",
	} {
		if got := Address(remote); got != want {
			t.Errorf("Address(%q): %q, want %q", remote, got, want)
		}
	}
}
