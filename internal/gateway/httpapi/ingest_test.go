package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

const eventsPath = base + "/events"

// post is a request with events in one of the formats.
func post(contentType, body string) request {
	return request{method: "POST", path: eventsPath, contentType: contentType, body: body}
}

func ndjson(lines ...string) request {
	return post("application/x-ndjson", strings.Join(lines, "\n"))
}

const readLine = `{"type":"message.read","message":"m1","user":"bob","group":"g1"}`

func TestEventsInEveryFormat(t *testing.T) {
	want := []events.Event{
		{App: testApp, Kind: events.MessageSent, Message: "m1", User: "alice", Group: "g1", Receipt: true},
		{App: testApp, Kind: events.MessageRead, Message: "m1", User: "bob", Group: "g1", Content: "seen", Strict: true, Time: 1772366400123},
		{App: testApp, Kind: events.GroupCreated, Group: "g2", User: "alice", Members: []string{"bob", "carol"}, Admins: []string{"dave"}},
	}
	lines := []string{
		`{"type":"message.sent","id":"m1","from":"alice","group":"g1","receipt":true}`,
		`{"type":"message.read","message":"m1","user":"bob","group":"g1","content":"seen","strict":true,"time":"2026-03-01T12:00:00.123Z"}`,
		`{"type":"group.created","group":"g2","owner":"alice","members":["bob","carol"],"admins":["dave"]}`,
	}
	h := newHarness(t)
	for name, rq := range map[string]request{
		"NDJSON":       ndjson(lines...),
		"NDJSON, CRLF": post("application/x-ndjson", strings.Join(lines, "\r\n\r\n")+"\r\n"),
		"array":        post("application/json", "["+strings.Join(lines, ",")+"]"),
		"charset":      post("application/json; charset=utf-8", "["+strings.Join(lines, ",")+"]"),
		"protobuf":     post("application/x-protobuf", string(events.AppendEventList(nil, want))),
	} {
		t.Run(name, func(t *testing.T) {
			a := h.want(rq, 200, "")
			if got := a.field(t, "accepted"); got != 3.0 {
				t.Errorf("accepted %v", got)
			}
			if got := h.log.taken(); !sameEvents(got, want) {
				t.Errorf("submitted\n%+v\nwant\n%+v", got, want)
			}
		})
	}
	one := h.want(post("application/json", lines[1]), 200, "")
	if want := fmt.Sprintf(`{"accepted":1,"positions":[{"partition":0,"sequence":%d}]}`+"\n", h.log.sequence); string(one.body) != want {
		t.Errorf("answer %s, want %s", one.body, want)
	}
}

func sameEvents(a, b []events.Event) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if len(x.Members) == 0 {
			x.Members = y.Members[:0]
		}
		if len(x.Admins) == 0 {
			x.Admins = y.Admins[:0]
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func TestEventsCompressed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.BodyBytes = 10_000 })
	packers := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	}
	pack := func(encoding, body string) request {
		var b bytes.Buffer
		w := packers[encoding](&b)
		_, _ = io.WriteString(w, body)
		_ = w.Close()
		rq := post("application/x-ndjson", b.String())
		rq.header = map[string]string{"Content-Encoding": encoding}
		rq.wrong = true // the description's client would decompress
		return rq
	}
	for encoding := range packers {
		t.Run(encoding, func(t *testing.T) {
			for range 3 { // decoders are used again
				h.want(pack(encoding, strings.Repeat(readLine+"\n", 100)), 200, "")
				if got := len(h.log.taken()); got != 100 {
					t.Errorf("%d events", got)
				}
				h.want(pack(encoding, strings.Repeat(" ", 1<<20)), 413, "too_large")
				cut := pack(encoding, strings.Repeat(readLine+"\n", 100))
				cut.body = cut.body[:len(cut.body)-10]
				h.want(cut, 400, "invalid_request")
				cut.body = "not compressed"
				h.want(cut, 400, "invalid_request")
			}
		})
	}
	unknown := ndjson(readLine)
	unknown.header, unknown.wrong = map[string]string{"Content-Encoding": "br"}, true
	h.want(unknown, 415, "unsupported_media_type")
	if got := h.log.taken(); len(got) > 0 {
		t.Errorf("refused requests submitted %d events", len(got))
	}
}

func TestWaitAppliedAnswersEachOutcome(t *testing.T) {
	h := newHarness(t)
	h.state.outcomes = func(_ context.Context, partition int, _ uint64) ([]events.Outcome, error) {
		// Each entry begins with three events of other requests.
		entry := []events.Outcome{events.RejectedNoApp, events.RejectedNoApp, events.RejectedNoApp}
		if partition == 0 {
			return append(entry, events.OutcomeApplied, events.OutcomeParked), nil
		}
		return append(entry, events.RejectedNotFound, events.OutcomeDuplicate), nil
	}
	rq := ndjson(readLine, readLine, readLine, readLine)
	rq.path += "?wait=applied"
	a := h.want(rq, 200, "")
	want := `{"accepted":4,"outcomes":[{"index":0,"outcome":"applied"},{"index":1,"outcome":"rejected","code":503,"reason":"group ack msg not found"},` +
		`{"index":2,"outcome":"parked"},{"index":3,"outcome":"duplicate"}]}` + "\n"
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	rq.path = eventsPath + "?wait=durable"
	if a := h.want(rq, 200, ""); a.field(t, "positions") == nil {
		t.Errorf("wait=durable: %s", a.body)
	}
}

// TestNotAppliedInTimeIsStillDurable tells a client whose answer is late that it need not send
// again.
func TestNotAppliedInTimeIsStillDurable(t *testing.T) {
	for name, c := range map[string]struct {
		outcomes func(context.Context, int, uint64) ([]events.Outcome, error)
		limit    time.Duration
		code     string
	}{
		"late": {func(ctx context.Context, _ int, _ uint64) ([]events.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 20 * time.Millisecond, "not_applied"},
		"gone": {func(context.Context, int, uint64) ([]events.Outcome, error) {
			return nil, projector.ErrOutcomeGone
		}, patience, "outcome_gone"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, func(cfg *Config) { cfg.Limits.Apply = c.limit })
			h.state.outcomes = c.outcomes
			rq := ndjson(readLine)
			rq.path += "?wait=applied"
			a := h.want(rq, 503, c.code)
			if a.field(t, "accepted") != 1.0 || len(a.field(t, "positions").([]any)) != 1 || a.header.Get("Retry-After") != "" {
				t.Errorf("answer %s, %v", a.body, a.header)
			}
		})
	}
}

func TestLogFailuresSayWhetherToSendAgain(t *testing.T) {
	for _, c := range []struct {
		name         string
		submit, wait error
		code, retry  string
	}{
		{"queue full", eventlog.ErrOverloaded, nil, "overloaded", "1"},
		{"unavailable", eventlog.ErrUnavailable, nil, "unavailable", "2"},
		{"closed", eventlog.ErrClosed, nil, "unavailable", "2"},
		{"disk full", fmt.Errorf("append: %w", eventlog.ErrLogFull), nil, "log_full", "30"},
		{"failed on the way", nil, eventlog.ErrUnavailable, "unknown_outcome", "1"},
		{"unknown", nil, errors.Join(eventlog.ErrUnavailable, eventlog.ErrUnknownOutcome), "unknown_outcome", "1"},
		{"disk became full", nil, eventlog.ErrLogFull, "log_full", "30"},
		{"late", nil, context.DeadlineExceeded, "unknown_outcome", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, func(cfg *Config) {
				if c.name == "late" { // the others are not to be
					cfg.Limits.Request = time.Second
				}
			})
			h.log.submitErr, h.log.waitErr = c.submit, c.wait
			a := h.want(ndjson(readLine), 503, c.code)
			if got := a.header.Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After %q, want %q", got, c.retry)
			}
		})
	}
}

func TestQueueThatStaysFullIsOverload(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.Submit = 20 * time.Millisecond })
	h.log.block = make(chan struct{})
	h.want(ndjson(readLine), 503, "overloaded")
}

func TestEventsTooLarge(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.BodyBytes = 1000; c.Limits.Events = 5 })
	h.want(ndjson(strings.Repeat(readLine+"\n", 5)), 200, "")
	h.log.taken()
	h.want(ndjson(strings.Repeat(readLine+"\n", 6)), 413, "too_many_events")
	h.want(ndjson(strings.Repeat(readLine+"\n", 100)), 413, "too_large")

	// The same without a length that is known from the start.
	r := ndjson(strings.Repeat(readLine+"\n", 100)).build(t, h.server.URL)
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(r.Body)), -1
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("chunked: %d", res.StatusCode)
	}
	if got := h.log.taken(); len(got) > 0 {
		t.Errorf("refused requests submitted %d events", len(got))
	}
}

// TestMemoryIsNotSharedBetweenRequests has many requests at once use the same pools.
func TestMemoryIsNotSharedBetweenRequests(t *testing.T) {
	h := newHarness(t)
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for i := range 20 {
				var lines []string
				for n := range 1 + (i+client)%7*30 {
					lines = append(lines, fmt.Sprintf(`{"type":"message.read","message":"m%d-%d-%d","user":"u%d","group":"\u0067%d"}`, client, i, n, client, client))
				}
				h.want(ndjson(lines...), 200, "")
			}
		})
	}
	clients.Wait()
	next := make(map[string]bool)
	for _, e := range h.log.taken() {
		if "u"+e.Group[1:] != e.User || !strings.HasPrefix(e.Message, "m"+e.User[1:]+"-") || next[e.Message] {
			t.Fatalf("mixed up: %+v", e)
		}
		next[e.Message] = true
	}
}

// TestBodyThatStallsIsCutOff holds a connection open without sending what was announced.
func TestBodyThatStallsIsCutOff(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.Request = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n{", eventsPath, testAdminKey)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the server keeps waiting: %v", err)
	}
	if n := h.metric("receiptd_admission_held_bytes"); n != 0 {
		t.Errorf("%v bytes still counted", n)
	}
}

// The events of a request get ids of its key; those that have one keep it.
func TestIdempotencyKey(t *testing.T) {
	h := newHarness(t)
	rq := ndjson(readLine, `{"type":"group.joined","group":"g1","user":"bob","event_id":"own"}`, readLine)
	send := func(key string) (ids []string) {
		rq.header = map[string]string{"Idempotency-Key": key}
		h.want(rq, 200, "")
		for _, e := range h.log.taken() {
			ids = append(ids, e.EventID)
		}
		return ids
	}
	first := send("key")
	if want := []string{"key/00000", "own", "key/00002"}; !slices.Equal(first, want) {
		t.Errorf("ids %q, want %q", first, want)
	}
	if again := send("key"); !slices.Equal(again, first) {
		t.Errorf("ids %q, then %q", first, again)
	}
	if long := send(strings.Repeat("k", 255)); long[0] == long[2] || len(long[0]) > events.MaxEventIDBytes {
		t.Errorf("ids %q", long)
	}
	h.want(ndjson(readLine), 200, "")
	if e := h.log.taken()[0]; e.EventID != "" {
		t.Errorf("an id %q of nothing", e.EventID)
	}
	for _, bad := range []string{"", strings.Repeat("k", 256), "schlüssel"} {
		rq.header, rq.wrong = map[string]string{"Idempotency-Key": bad}, true
		if a := h.want(rq, 400, "invalid_request"); !strings.Contains(string(a.body), `"field":"Idempotency-Key"`) {
			t.Errorf("%q: %s", bad, a.body)
		}
	}
}

// Requests that are sent without waiting for answers are answered in their order, on the connection
// that they came on.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	h := newHarness(t)
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	const n = 50
	var all strings.Builder
	for i := range n {
		body := fmt.Sprintf(`{"type":"message.read","message":"m1","user":"u%d","group":"g"}`, i)
		fmt.Fprintf(&all, "POST %s/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nX-Request-Id: r%d\r\nContent-Length: %d\r\n\r\n%s",
			base, testAdminKey, i, len(body), body)
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for i := range n {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != 200 || res.Header.Get("X-Request-Id") != fmt.Sprint("r", i) {
			t.Fatalf("answer %d: %s, %v", i, res.Status, res.Header)
		}
	}
	for i, e := range h.log.taken() {
		if e.User != fmt.Sprint("u", i) {
			t.Fatalf("event %d is of %s", i, e.User)
		}
	}
}

// What is rejected in an app is told to the backend, and not to its users.
func TestRejectionsAreHintedAtToTheBackend(t *testing.T) {
	h := newHarness(t)
	h.state.rejections = []projections.Rejection{{At: time.Now().UnixMilli(), Outcome: events.RejectedNotOpen}}
	body := `{"type":"message.read","message":"m1","group":"g","user":"ann"}`
	a := h.want(request{method: "POST", path: base + "/events", body: body}, 200, "")
	if a.field(t, "rejected", "last_10_minutes") != 1.0 || a.field(t, "rejected", "reason") != "group ack not open" || a.field(t, "rejected", "see") != base+"/rejections" {
		t.Errorf("the backend is told %s", a.body)
	}
	a = h.want(request{method: "POST", path: base + "/users/ann/receipts", token: h.token("ann"), body: body}, 200, "")
	if strings.Contains(string(a.body), "rejected") {
		t.Errorf("the user is told %s", a.body)
	}
}

// TestImport: events are imported through that door alone, and say when they happened.
func TestImport(t *testing.T) {
	h := newHarness(t)
	send := func(line string) request {
		return request{method: "POST", path: base + "/import", contentType: "application/x-ndjson", body: line}
	}
	timed := strings.TrimSuffix(readLine, "}") + `,"time":"2021-05-01T08:00:00Z"}`
	h.want(send(timed), 200, "")
	if got := h.log.taken(); len(got) != 1 || !got[0].Imported || got[0].Time != 1_619_856_000_000 {
		t.Errorf("submitted %+v", got)
	}
	h.want(ndjson(timed), 200, "")
	if got := h.log.taken(); len(got) != 1 || got[0].Imported {
		t.Errorf("submitted %+v", got)
	}
	tomorrow := time.Now().Add(24 * time.Hour).UnixMilli()
	for _, bad := range []string{readLine, strings.TrimSuffix(readLine, "}") + fmt.Sprintf(`,"time":%d}`, tomorrow)} {
		rq := send(timed + "\n" + bad)
		rq.wrong = true
		if a := h.want(rq, 400, "invalid_event"); !strings.Contains(string(a.body), `"index":1,"field":"time"`) {
			t.Errorf("%s: %s", bad, a.body)
		}
	}
	rq := ndjson(strings.TrimSuffix(timed, "}") + `,"imported":true}`)
	rq.wrong = true
	h.want(rq, 400, "invalid_event")
	rq = send(timed)
	rq.token, rq.wrong = h.token("bob"), true
	h.want(rq, 403, "forbidden")
	if got := h.log.taken(); len(got) != 0 {
		t.Errorf("submitted %+v", got)
	}
}
