package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// uploadClient is a client with an open stream of events.
type uploadClient struct {
	t     *testing.T
	body  *io.PipeWriter
	res   *http.Response
	lines *bufio.Scanner
}

// uploadAnswer is one line that came back.
type uploadAnswer struct {
	Accepted  int
	Positions []eventlog.Position
	Outcomes  []struct {
		Index           int
		Outcome, Reason string
	}
	Error *struct {
		Code, Field string
		Index       *int
	}
}

func (h *harness) openUpload(client *http.Client, query string, headers ...string) *uploadClient {
	h.t.Helper()
	out, in := io.Pipe()
	r := request{method: "POST", path: base + "/events:stream" + query, contentType: "application/x-ndjson"}.build(h.t, h.server.URL)
	r.Body, r.ContentLength = out, -1
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { in.Close(); res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-ndjson" {
		text, _ := io.ReadAll(res.Body)
		h.t.Fatalf("%d %v %s", res.StatusCode, res.Header, text)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &uploadClient{t: h.t, body: in, res: res, lines: lines}
}

func (c *uploadClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.body, text); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next line; false at the end.
func (c *uploadClient) next() (a uploadAnswer, ok bool) {
	c.t.Helper()
	if !c.lines.Scan() {
		if err := c.lines.Err(); err != nil {
			c.t.Fatalf("the answer broke off: %v", err)
		}
		return a, false
	}
	if err := json.Unmarshal(c.lines.Bytes(), &a); err != nil {
		c.t.Fatalf("%q: %v", c.lines.Bytes(), err)
	}
	return a, true
}

// until reads lines until so many events are accepted, and returns the last one.
func (c *uploadClient) until(accepted int) uploadAnswer {
	c.t.Helper()
	for {
		a, ok := c.next()
		if !ok || a.Error != nil || a.Accepted > accepted {
			c.t.Fatalf("%+v, %v while waiting for %d", a, ok, accepted)
		}
		if a.Accepted == accepted {
			return a
		}
	}
}

// last reads to the end and returns the last line.
func (c *uploadClient) last() (last uploadAnswer) {
	c.t.Helper()
	for {
		a, ok := c.next()
		if !ok {
			return last
		}
		last = a
	}
}

func line(user string) string {
	return fmt.Sprintf(`{"type":"message.read","message":"m1","user":%q,"group":"g1"}`+"\n", user)
}

func users(evs []events.Event) (list []string) {
	for _, e := range evs {
		list = append(list, strings.Trim(e.User+"/"+e.EventID, "/"))
	}
	return list
}

// http2 is a client that speaks HTTP/2 without TLS.
func http2() *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: &p}}
}

// Answers come while the client is still sending, in both versions of HTTP, and count from
// the start.
func TestUploadIsAnsweredAsItComes(t *testing.T) {
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2.0": http2()} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			c := h.openUpload(client, "")
			if c.res.Proto != name {
				t.Fatalf("it is %s", c.res.Proto)
			}
			c.send(line("ann"))
			if a := c.until(1); len(a.Positions) != 1 || a.Positions[0].Sequence == 0 {
				t.Errorf("%+v", a)
			}
			c.send("\n" + line("ben") + line("cleo")[:20])
			c.until(2)
			c.send(line("cleo")[20:])
			c.until(3)
			c.send(strings.TrimSpace(line("dan"))) // the last one without its end
			c.body.Close()
			if a := c.last(); a.Accepted != 4 || a.Error != nil {
				t.Errorf("at the end: %+v", a)
			}
			if got := users(h.log.taken()); !slices.Equal(got, []string{"ann", "ben", "cleo", "dan"}) {
				t.Errorf("taken %q", got)
			}
			eventuallyIdle(t, h)
		})
	}
}

// eventuallyIdle waits until the stream has given back what it took.
func eventuallyIdle(t *testing.T, h *harness) {
	t.Helper()
	for end := time.Now().Add(patience); h.metric("receiptd_admission_held_bytes") != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v bytes are not given back", h.metric("receiptd_admission_held_bytes"))
		}
	}
}

// What is wrong ends the stream; everything before it is taken and acknowledged, nothing after it.
func TestUploadEndsAtWhatIsMalformed(t *testing.T) {
	for _, test := range []struct {
		name, bad, code, field string
		cut                    bool
	}{
		{name: "not JSON", bad: "{\n", code: "invalid_event"},
		{name: "a field", bad: `{"type":"message.read","message":"m1","group":"g1"}` + "\n", code: "invalid_event", field: "user"},
		{name: "the end of the body in a line", bad: `{"type":"mess`, code: "invalid_event", cut: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHarness(t)
			c := h.openUpload(http.DefaultClient, "?from=10")
			c.send(line("ann") + line("ben"))
			c.until(12)
			text := line("cleo") + test.bad
			if test.cut {
				c.send(text)
				c.body.Close()
			} else {
				c.send(text + line("dan"))
			}
			a := c.last()
			if a.Error == nil || a.Error.Code != test.code || a.Error.Field != test.field || a.Error.Index == nil || *a.Error.Index != 13 || a.Accepted != 13 {
				t.Errorf("%+v %+v", a, a.Error)
			}
			if got := users(h.log.taken()); !slices.Equal(got, []string{"ann", "ben", "cleo"}) {
				t.Errorf("taken %q", got)
			}
			eventuallyIdle(t, h)
		})
	}
}

func TestUploadAnswersOutcomes(t *testing.T) {
	h := newHarness(t)
	var late atomic.Bool
	h.state.outcomes = func(_ context.Context, partition int, _ uint64) ([]events.Outcome, error) {
		if late.Load() {
			return nil, context.DeadlineExceeded
		}
		o := events.OutcomeApplied
		if partition == 1 {
			o = events.RejectedNotFound
		}
		return slices.Repeat([]events.Outcome{o}, 10), nil
	}
	c := h.openUpload(http.DefaultClient, "?wait=applied")
	c.send(line("ann") + line("ben"))
	c.until(2)
	c.send(line("cleo") + line("dan"))
	a := c.until(4)
	if len(a.Positions) == 0 || len(a.Outcomes) != 2 || a.Outcomes[0].Index != 2 || a.Outcomes[0].Outcome != "applied" || a.Outcomes[1].Index != 3 || a.Outcomes[1].Outcome != "rejected" {
		t.Errorf("%+v", a)
	}
	late.Store(true)
	c.send(line("eve"))
	if a := c.last(); a.Error == nil || a.Error.Code != "not_applied" || a.Accepted != 5 {
		t.Errorf("outcomes that do not come: %+v", a)
	}
}

// A line that names many messages counts as that many events, and takes the room of as many.
func TestUploadOfManyMessages(t *testing.T) {
	h := newHarness(t)
	c := h.openUpload(http.DefaultClient, "", "Idempotency-Key", "k")
	c.send(`{"type":"message.read","messages":["m1","m2","m3"],"user":"ann","group":"g1"}` + "\n" + line("ben"))
	c.until(4)
	ids := strings.Repeat(`"m",`, 255) + `"m"`
	h.log.mu.Lock()
	block := make(chan struct{})
	h.log.block = block
	h.log.mu.Unlock()
	c.send(strings.Repeat(`{"type":"message.read","messages":[`+ids+`],"user":"ann","group":"g1"}`+"\n", 20))
	// 4 KiB have come at first.
	const least = 3 * 256 * float64(events.EventBytes)
	for end := time.Now().Add(patience); h.metric("receiptd_admission_decoding_bytes") < least; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v bytes are taken for events", h.metric("receiptd_admission_decoding_bytes"))
		}
	}
	close(block)
	c.until(4 + 20*256)
	c.send("{\n")
	if a := c.last(); a.Error == nil || a.Error.Index == nil || *a.Error.Index != 4+20*256 {
		t.Errorf("%+v", a.Error)
	}
	if got := users(h.log.taken())[:4]; !slices.Equal(got, []string{"ann/k/00000", "ann/k/00001", "ann/k/00002", "ben/k/00003"}) {
		t.Errorf("got %q", got)
	}
	eventuallyIdle(t, h)
}

// A stream that goes on where another one broke off gives its events the ids that they had there.
func TestUploadGoesOnWithItsIDs(t *testing.T) {
	h := newHarness(t)
	for _, from := range []int{0, 2} {
		c := h.openUpload(http.DefaultClient, fmt.Sprintf("?from=%d", from), "Idempotency-Key", "k")
		c.send(line("a") + line("b"))
		c.until(from + 2)
		c.send(line("c"))
		c.until(from + 3)
	}
	want := []string{"a/k/00000", "b/k/00001", "c/k/00002", "a/k/00002", "b/k/00003", "c/k/00004"}
	if got := users(h.log.taken()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUploadThatIsRefused(t *testing.T) {
	h := newHarness(t)
	path := base + "/events:stream"
	for _, test := range []struct {
		rq     request
		status int
		code   string
	}{
		{request{path: path, contentType: "application/json", wrong: true}, 415, "unsupported_media_type"},
		{request{path: path, contentType: "application/x-ndjson", header: map[string]string{"Content-Encoding": "gzip"}}, 415, "unsupported_media_type"},
		{request{path: path + "?from=-1", contentType: "application/x-ndjson", wrong: true}, 400, "invalid_request"},
		{request{path: path + "?from=9007199254740993", contentType: "application/x-ndjson", wrong: true}, 400, "invalid_request"},
		{request{path: path + "?wait=soon", contentType: "application/x-ndjson", wrong: true}, 400, "invalid_request"},
		{request{path: path, contentType: "application/x-ndjson", header: map[string]string{"Idempotency-Key": strings.Repeat("k", 256)}, wrong: true}, 400, "invalid_request"},
		{request{path: strings.Replace(path, "chat", "other", 1), contentType: "application/x-ndjson"}, 404, "app_not_found"},
		{request{path: path, contentType: "application/x-ndjson", token: h.token("ann")}, 403, "forbidden"},
		{request{path: path, contentType: "application/x-ndjson", token: "-"}, 401, "unauthorized"},
	} {
		test.rq.method, test.rq.body = "POST", line("ann")
		h.want(test.rq, test.status, test.code)
	}
	if got := h.log.taken(); len(got) > 0 {
		t.Errorf("taken %v", got)
	}
}

// While the log stores nothing, only so much is read.
func TestUploadIsReadAsItIsStored(t *testing.T) {
	h := newHarness(t, func(cfg *Config) { cfg.Limits.Request = 5 * time.Second })
	h.log.waitErr = context.DeadlineExceeded // never
	c := h.openUpload(http.DefaultClient, "")
	stop := time.AfterFunc(patience, func() { c.body.CloseWithError(io.ErrUnexpectedEOF) })
	defer stop.Stop()
	text := strings.Repeat(line("ann"), uploadChunk/len(line("ann")))
	wrote := make(chan int)
	go func() {
		n := 0
		for range 2000 {
			if _, err := io.WriteString(c.body, text); err != nil {
				break
			}
			n++
			select {
			case wrote <- n:
			default:
			}
		}
		close(wrote)
	}()
	// It stands still at last.
	submitted := func() uint64 { h.log.mu.Lock(); defer h.log.mu.Unlock(); return h.log.sequence }
	last, since := submitted(), time.Now()
	for time.Since(since) < time.Second {
		time.Sleep(10 * time.Millisecond)
		if n := submitted(); n != last {
			last, since = n, time.Now()
		}
	}
	// One is waited for, and one could not be handed on.
	if last > uploadUnanswered+2 || last == 0 {
		t.Errorf("%d chunks were submitted", last)
	}
	c.body.CloseWithError(io.ErrUnexpectedEOF)
}

// A server that stops answers what it has taken, and says that the rest is to go elsewhere.
func TestUploadDrains(t *testing.T) {
	for name, client := range map[string]*http.Client{"1": http.DefaultClient, "2": http2()} {
		h := newHarness(t)
		c := h.openUpload(client, "")
		c.send(line("ann"))
		c.until(1)
		stopped := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			stopped <- h.server.Config.Shutdown(ctx)
		}()
		if a := c.last(); a.Error == nil || a.Error.Code != "shutting_down" || a.Accepted != 1 {
			t.Errorf("HTTP/%s: %+v %+v", name, a, a.Error)
		}
		if err := <-stopped; err != nil {
			t.Errorf("HTTP/%s: %v", name, err)
		}
	}
}

func TestUploadWhenTheLogFails(t *testing.T) {
	h := newHarness(t)
	c := h.openUpload(http.DefaultClient, "")
	c.send(line("ann"))
	c.until(1)
	h.log.mu.Lock()
	h.log.submitErr = eventlog.ErrLogFull
	h.log.mu.Unlock()
	c.send(line("ben"))
	if a := c.last(); a.Error == nil || a.Error.Code != "log_full" || a.Accepted != 1 {
		t.Errorf("%+v", a)
	}
	h.log.mu.Lock()
	h.log.submitErr, h.log.waitErr = nil, eventlog.ErrUnknownOutcome
	h.log.mu.Unlock()
	c = h.openUpload(http.DefaultClient, "")
	c.send(line("ben"))
	if a := c.last(); a.Error == nil || a.Error.Code != "unknown_outcome" || a.Accepted != 0 {
		t.Errorf("%+v", a)
	}
}
