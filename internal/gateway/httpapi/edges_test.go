package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/projections"
)

// TestEdges is what clients do that is right, almost right or not quite wrong: one row each.
func TestEdges(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for _, id := range []string{".", ".."} {
		h.state.messages[in(testApp, id)] = projections.Message{ID: id, From: "alice", Group: "g1", SentAt: sentAt}
	}
	zip := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	event := func(fields string) request {
		return post("application/json", `{"type":"message.read","message":"m1","user":"bob","group":"g1"`+fields+`}`)
	}
	packed := func(encoding string) request {
		rq := post("application/x-ndjson", zip(readLine+"\n"))
		rq.header = map[string]string{"Content-Encoding": encoding}
		return rq
	}
	get := func(path string) request { return request{method: "GET", path: path} }
	put := func(body string) request { return request{method: "PUT", path: base, body: body} }
	for _, c := range []struct {
		name   string
		rq     request
		status int
		code   string
		says   string // the beginning of the message
	}{
		{"gzip in upper case", packed("GZIP"), 200, "", ""},
		{"x-gzip", packed("x-gzip"), 200, "", ""},
		{"another encoding", packed("br"), 415, "unsupported_media_type", "Content-Encoding: gzip, zstd or none"},
		{"settings, compressed", request{method: "PUT", path: base, body: zip("{}"), header: map[string]string{"Content-Encoding": "gzip"}}, 415, "unsupported_media_type", "Content-Encoding: none"},
		{"byte order mark", post("application/x-ndjson", "\ufeff"+readLine), 400, "invalid_event", "event 0: a byte order mark at the beginning"},
		{"byte order mark before settings", put("\ufeff{}"), 400, "invalid_request", "body: a byte order mark"},

		{"null in a field that may be left out", event(`,"peer":null,"content":null,"strict":null,"time":null,"event_id":null`), 200, "", ""},
		{"null in a field that may not", post("application/json", `{"type":"message.read","message":"m1","user":null,"group":"g1"}`), 400, "invalid_event", "event 0: user: null"},
		{"null for a setting", put(`{"group_receipts":{"validity":null}}`), 400, "invalid_request", "group_receipts.validity: null"},
		{"null for a body", request{method: "POST", path: base + "/users/bob/tokens", body: "null"}, 400, "invalid_request", "body: null"},
		{"null for a cursor", request{method: "POST", path: base + "/users/bob/statistics:ack", body: `{"cursor":null}`}, 400, "invalid_cursor", ""},

		{"time 1.0", event(`,"time":1.0`), 200, "", ""},
		{"time 0", event(`,"time":0`), 200, "", ""},
		{"time 1.5", event(`,"time":1.5`), 400, "invalid_event", "event 0: time: "},
		{"lower-case t and z", event(`,"time":"2026-03-01t12:00:00z"`), 200, "", ""},
		{"hour of one digit", event(`,"time":"2026-03-01T1:00:00Z"`), 400, "invalid_event", "event 0: time: "},
		{"comma before the fraction", event(`,"time":"2026-03-01T12:00:00,5Z"`), 400, "invalid_event", "event 0: time: "},
		{"offset of a day", event(`,"time":"2026-03-01T12:00:00+24:00"`), 400, "invalid_event", "event 0: time: "},
		{"before 1970", event(`,"time":"1969-12-31T23:59:59Z"`), 400, "invalid_event", "event 0: time: "},
		{"negative time", event(`,"time":-1`), 400, "invalid_event", "event 0: time: "},
		{"duration with a sign", put(`{"group_receipts":{"validity":"+1h"}}`), 400, "invalid_request", "group_receipts.validity: not a duration"},
		{"200.0 members", put(`{"group_receipts":{"max_group_size":200.0}}`), 200, "", ""},

		{"chat with oneself", post("application/json", `{"type":"message.read","message":"m1","user":"bob","peer":"bob"}`), 400, "invalid_event", "event 0: peer: the same user"},
		{"receipt in a single chat", post("application/json", `{"type":"message.sent","id":"m9","from":"bob","peer":"eve","receipt":true}`), 400, "invalid_event", "event 0: receipt: "},
		{"no receipt in a single chat", post("application/json", `{"type":"message.sent","id":"m9","from":"bob","peer":"eve","receipt":false}`), 200, "", ""},
		{"id of 128 bytes", post("application/json", `{"type":"group.left","user":"bob","group":"`+strings.Repeat("é", 64)+`"}`), 200, "", ""},
		{"id of 128 characters and more bytes", post("application/json", `{"type":"group.left","user":"bob","group":"`+strings.Repeat("é", 128)+`"}`), 400, "invalid_event", "event 0: group: 256 bytes, at most 128"},
		{"a character of two bytes after an event", post("application/x-ndjson", readLine+"é"), 400, "invalid_event", "event 0: malformed JSON: 'é' after the event"},
		{"the same in an array", post("application/json", "["+readLine+"é"), 400, "invalid_event", "event 0: malformed JSON: 'é' after the event"},

		{"unknown parameter", get(base + "/rejections?limits=5"), 400, "invalid_request", "limits: unknown parameter"},
		{"unknown parameter beside a known one", get(base + "/rejections?limit=5&page=2"), 400, "invalid_request", "page: unknown parameter"},
		{"parameter of another call", get(base + "/messages/m1?limit=5"), 400, "invalid_request", "limit: unknown parameter"},
		{"parameter of a call for everybody", get("/healthz?verbose=1"), 400, "invalid_request", "verbose: unknown parameter"},
		{"unknown parameter of metrics", get("/metrics?name=up"), 400, "invalid_request", "name: unknown parameter"},
		{"parameter twice", get(base + "/rejections?limit=5&limit=6"), 400, "invalid_request", "limit: repeated"},
		{"escaped parameter", get(base + "/rejections?%6cimit=5"), 200, "", ""},
		{"malformed query", get(base + "/rejections?limit=%zz"), 400, "invalid_request", "query: malformed"},
		{"limit with a sign", get(base + "/rejections?limit=%2B5"), 400, "invalid_request", "limit: "},
		{"empty limit", get(base + "/rejections?limit="), 400, "invalid_request", "limit: "},
		{"empty wait", request{method: "POST", path: eventsPath + "?wait=", contentType: "application/x-ndjson", body: readLine}, 400, "invalid_request", "wait: "},
		{"unknown parameter of events", request{method: "POST", path: eventsPath + "?wiat=applied", contentType: "application/x-ndjson", body: readLine}, 400, "invalid_request", "wiat: unknown parameter"},
		{"unknown parameter of one who may not call", request{method: "GET", path: base + "/rejections?x=1", token: h.token("bob")}, 403, "forbidden", ""},
		{"name of many bytes", get(base + "/rejections?" + strings.Repeat("é", 60) + "=1"), 400, "invalid_request", strings.Repeat("é", 32) + "…: unknown"},

		{"message named by a dot", get(base + "/messages/%2E"), 200, "", ""},
		{"message named by two", get(base + "/messages/%2E%2e"), 200, "", ""},
		{"readers of a dot", get(base + "/messages/%2E%2E/readers"), 200, "", ""},
		{"a dot that is a step", get(base + "/messages/./readers"), 404, "not_found", ""},
		{"two that are a step back", get(base + "/messages/.."), 404, "not_found", ""},

		{"no such path", request{method: "GET", path: "/nope", undescribed: true}, 404, "not_found", "no such path"},
		{"no such path below v1", request{method: "GET", path: "/v1/nope", undescribed: true}, 404, "not_found", "no such path"},
		{"v1 without a slash", request{method: "GET", path: "/v1", undescribed: true}, 404, "not_found", "no such path"},
		{"v1 without a slash, by another method", request{method: "POST", path: "/v1", undescribed: true}, 404, "not_found", "no such path"},
		{"no such admin call", request{method: "GET", path: "/v1/admin/nope", undescribed: true}, 404, "not_found", "no such path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rq.wrong = true
			var body struct{ Error errorInfo }
			a := h.want(c.rq, c.status, c.code)
			if err := json.Unmarshal(a.body, &body); err != nil || !strings.HasPrefix(body.Error.Message, c.says) {
				t.Errorf("%s, want a message that begins with %q", a.body, c.says)
			}
			h.log.taken()
		})
	}
	h.want(get("/metrics?name[]=up&name%5B%5D=down"), 200, "") // is no JSON
}

// TestFoldingAgain: whoever asks for what is being folded again is told that it is, by every call.
func TestFoldingAgain(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.failure = fmt.Errorf("partition 1: %w", projector.ErrFoldingAgain)
	for _, rq := range []request{
		{method: "GET", path: base + "/messages/m1"}, {method: "POST", path: base + "/messages:counts", body: `{"ids":["m1"]}`},
		{method: "GET", path: base + "/messages/m1/readers"}, {method: "GET", path: base + "/messages/m1/nonreaders"},
		{method: "GET", path: base + "/users/alice/conversations"}, {method: "GET", path: base + "/users/alice/statistics"},
		{method: "GET", path: base + "/users/alice/stream"}, {method: "GET", path: base + "/rejections"},
	} {
		if a := h.want(rq, 503, "folding_again"); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", rq.path, a.header)
		}
	}
	h.analytics.err = h.state.failure
	h.want(request{method: "GET", path: readRate}, 503, "folding_again")
	h.want(ndjson(readLine), 200, "") // events are taken all the while
}

// TestWhatOtherNodesHave: of what is not here it is told whether a node has it, and not that it was
// damaged.
func TestWhatOtherNodesHave(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for failure, code := range map[error]string{
		projector.ErrNoCopy: "no_copy", projector.ErrAbsent: "no_copy", projector.ErrArriving: "no_copy",
		projector.ErrLate: "timeout", projector.ErrFoldingAgain: "folding_again",
		projector.ErrStopped: "shutting_down",
	} {
		h.state.failure = fmt.Errorf("partition 1: %w", failure)
		a := h.want(request{method: "GET", path: base + "/messages/m1"}, 503, code)
		if damaged := strings.Contains(string(a.body), "damaged"); damaged != (code == "folding_again") || a.header.Get("Retry-After") == "" {
			t.Errorf("%v: %s, %v", failure, a.body, a.header)
		}
	}
}

// TestOriginsOfOtherPages: only what was listed may call, and a browser learns it before it sends a
// token.
func TestOriginsOfOtherPages(t *testing.T) {
	ask := func(h *harness, method, path, origin string, header ...string) *http.Response {
		t.Helper()
		r := request{method: method, path: path}.build(t, h.server.URL)
		r.Header.Set("Origin", origin)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	// All that a call of the API may have; a browser sends them in this order.
	const headers = "authorization,content-encoding,content-type,idempotency-key,last-event-id,receiptd-log,receiptd-position,x-request-id"
	preflight := []string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", headers}
	const good, bad, allowed = "https://chat.example.com", "https://evil.example.com", "Access-Control-Allow-Origin"
	stream, missing := base+"/users/alice/stream", base+"/messages/none"

	h := newHarness(t)
	if res := ask(h, "OPTIONS", stream, good, preflight...); res.StatusCode != 405 || res.Header.Get(allowed) != "" {
		t.Errorf("without the setting: %d %v", res.StatusCode, res.Header)
	}
	h = newHarness(t, func(c *Config) { c.Origins = []string{good, "http://localhost:3000"} })
	res := ask(h, "OPTIONS", stream, good, preflight...)
	if res.StatusCode != 204 || res.Header.Get(allowed) != good || res.Header.Get("Access-Control-Max-Age") != "7200" ||
		res.Header.Get("Access-Control-Allow-Headers") != headers || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", res.StatusCode, res.Header)
	}
	if res := ask(h, "OPTIONS", stream, bad, preflight...); res.Header.Get(allowed) != "" {
		t.Errorf("preflight of another: %v", res.Header)
	}
	// A refusal can be read, too: else the page sees nothing but a failed fetch.
	if res := ask(h, "GET", missing, good); res.StatusCode != 404 || res.Header.Get(allowed) != good ||
		!strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Origin") || !strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "Retry-After") || !strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "Receiptd-Node") {
		t.Errorf("call: %d %v", res.StatusCode, res.Header)
	}
	if res := ask(h, "GET", missing, bad); res.Header.Get(allowed) != "" {
		t.Errorf("call of another: %v", res.Header)
	}
	if res := ask(h, "OPTIONS", stream, ""); res.StatusCode != 405 {
		t.Errorf("no preflight: %d", res.StatusCode)
	}
	h = newHarness(t, func(c *Config) { c.Origins = []string{"*"} })
	if res := ask(h, "OPTIONS", stream, bad, preflight...); res.StatusCode != 204 || res.Header.Get(allowed) != "*" {
		t.Errorf("all: %d %v", res.StatusCode, res.Header)
	}
	if res := ask(h, "GET", "/", bad); res.Header.Get(allowed) != "" {
		t.Errorf("the page is not below /v1: %v", res.Header)
	}
}
