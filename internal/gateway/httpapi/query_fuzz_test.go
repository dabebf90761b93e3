package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FuzzQuery: whatever is asked for, by whom, with whatever names in the path, parameters, cursor
// and position, it is answered, or refused with the code of an error that is the client's.
func FuzzQuery(f *testing.F) {
	var asked []route
	for _, rt := range (&API{cfg: Config{Registry: prometheus.NewRegistry()}}).routes() {
		if rt.method == http.MethodGet && strings.HasPrefix(rt.path, "/v1/") {
			asked = append(asked, rt)
		}
	}
	for i, query := range []string{
		"", "limit=3", "limit=-1", "limit=1e9&cursor=x", "cursor=AAAA", "cursor=%00", "group=g1&users=a,b", "users=a,a", "peer=bob", "user=%ff&group=",
		"group_by=hour&from=2026-01-01T00:00:00Z&to=1e9", "group_by=week&tz=Asia/Kolkata&order=p50&min_messages=18446744073709551616", "tz=../x&format=csv",
		"from=9223372036854775807&to=-9223372036854775808", "from=7&to=7", "at_least=0:1@0000000000000007", "at_least=9:9", "size=1&to=2", "before=7", "%zz", "a;b",
	} {
		for k := range 3 {
			f.Add(uint8(i+k*len(asked)/3), "1", query, "", "")
			f.Add(uint8(i+k*len(asked)/3), "g1", query, "0:1,1:2", "AQID")
			f.Add(uint8(i+k*len(asked)/3), "\x00", query, "18446744073709551615:1", "\xff")
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, name, query, position, last string) {
		rt := asked[int(which)%len(asked)]
		h := newHarness(t)
		at := rt.path
		for _, value := range []string{"org", "app", "partition", "id", "group", "user", "conversation", "size", "sequence", "node", "file"} {
			with := name
			switch value {
			case "org":
				with = "acme"
			case "app":
				with = "chat"
			}
			at = strings.ReplaceAll(at, "{"+value+"}", with)
		}
		// Nothing comes that is waited for.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if rt.endless {
			cancel() // the first that it has to say is enough
		}
		r := (&http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: at, RawQuery: query}, Host: "receipts.example", RemoteAddr: "192.0.2.1:1", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Authorization": {"Bearer " + testAdminKey}, "Receiptd-Position": {position}, "Last-Event-Id": {last}}, Body: http.NoBody,
		}).WithContext(ctx)
		if name == "bob" {
			r.Header.Set("Authorization", "Bearer "+h.token(name))
		}
		answer := httptest.NewRecorder()
		h.api.ServeHTTP(answer, r)
		var refused struct {
			Error struct{ Code, Message string }
		}
		switch {
		case answer.Code < 400:
		case json.Unmarshal(answer.Body.Bytes(), &refused) != nil || refused.Error.Code == "":
			t.Errorf("%q?%q: %d %q", at, query, answer.Code, answer.Body)
		case answer.Code >= 500 && answer.Code != http.StatusServiceUnavailable && answer.Code != http.StatusNotImplemented:
			t.Errorf("%q?%q: %d %q", at, query, answer.Code, answer.Body)
		}
	})
}
