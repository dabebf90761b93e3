package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/lab/unread"
)

// An app's streams take half of the memory at most, however much of it others leave. The next one
// is refused and told when to come again, and another app's are taken.
func TestUploadsAreBounded(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 8 * uploadBlock}))
	h.state.settings["acme#other"] = events.DefaultSettings()
	var c *uploadClient
	for range 4 {
		c = h.openUpload(http.DefaultClient, "")
	}
	next := request{method: "POST", path: base + "/events:stream", contentType: "application/x-ndjson", body: line("ann")}
	if a := h.want(next, 503, "overloaded"); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	next.path = "/v1/apps/acme/other/events:stream"
	h.want(next, 200, "")
	h.want(request{method: "POST", path: "/v1/apps/acme/other/events", contentType: "application/x-ndjson", body: line("ann")}, 200, "")
	// What comes is read all the same, but a line beyond what a stream has anyway takes room.
	c.send(strings.Repeat(line("ann"), 200))
	c.until(200)
	go func() { _, _ = io.WriteString(c.body, strings.Repeat(" ", uploadLine)) }()
	if a := c.last(); a.Error == nil || a.Error.Code != "overloaded" {
		t.Errorf("%+v", a)
	}
}

// Streams on which nothing comes take little, so that hundreds of one app keep nobody out.
func TestStreamsTakeRoomAsEventsCome(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 8 << 20}))
	const streams = 300
	var c *uploadClient
	for range streams {
		c = h.openUpload(http.DefaultClient, "")
	}
	h.await("receiptd_admission_held_bytes", streams*uploadBlock)
	h.want(ndjson(strings.Repeat(line("ann"), 1000)), 200, "")
	// More while much comes, and no more than before when it is over.
	text := strings.Repeat(line("ann"), 10_000)
	largest := 0.0
	for i := range 10 {
		c.send(text)
		c.until((i + 1) * 10_000)
		largest = max(largest, h.metric("receiptd_admission_held_bytes"))
	}
	if largest < streams*uploadBlock+uploadChunk/4 {
		t.Errorf("at most %v bytes were held", largest)
	}
	for i := range 3 {
		c.send(line("ann"))
		c.until(100_000 + i + 1)
	}
	h.await("receiptd_admission_held_bytes", streams*uploadBlock)
}

// A stream has its turn like other requests of its app: while the log takes nothing of one app,
// streams of another are served.
func TestStreamsOfAnAppLeaveOthersTheirTurn(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Decoding: 1}))
	h.state.settings["acme#other"] = events.DefaultSettings()
	block := make(chan struct{})
	h.log.block = block
	const flood = 30
	first := h.openUpload(http.DefaultClient, "")
	first.send(line("first"))
	h.await("receiptd_admission_decoding_bytes", 1)
	floods := make([]*uploadClient, flood)
	for i := range floods {
		floods[i] = h.openUpload(http.DefaultClient, "")
		floods[i].send(line("flood"))
		h.await("receiptd_admission_queue_requests", float64(i+1))
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		h.want(request{method: "POST", path: "/v1/apps/acme/other/events:stream", contentType: "application/x-ndjson", body: line("quiet")}, 200, "")
	}()
	h.await("receiptd_admission_queue_requests", flood+1)
	close(block)
	<-answered
	for _, c := range append(floods, first) {
		c.until(1)
	}
	order := users(h.log.taken())
	if at := slices.Index(order, "quiet"); at < 1 || at > 2 {
		t.Errorf("%d were served before the quiet app", at)
	}
}

func TestUploadLineIsBounded(t *testing.T) {
	h := newHarness(t)
	c := h.openUpload(http.DefaultClient, "")
	c.send(line("ann"))
	c.until(1)
	go func() { _, _ = io.WriteString(c.body, strings.Repeat(" ", 2*uploadLine)) }()
	if a := c.last(); a.Error == nil || a.Error.Code != "too_large" || a.Accepted != 1 {
		t.Errorf("%+v", a)
	}
	eventuallyIdle(t, h)
}

func TestUploadThatIsSilent(t *testing.T) {
	for _, test := range []struct {
		name, text string
		limits     Limits
	}{
		{"between lines", line("ann"), Limits{UploadIdle: 50 * time.Millisecond}},
		{"in a line", line("ann") + `{"type"`, Limits{Request: 50 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, client := range map[string]*http.Client{"1": http.DefaultClient, "2": http2()} {
				h := newHarness(t, func(cfg *Config) { cfg.Limits = test.limits })
				c := h.openUpload(client, "")
				c.send(test.text)
				if a := c.last(); a.Error == nil || a.Error.Code != "idle" || a.Accepted != 1 {
					t.Errorf("HTTP/%s: %+v %+v", name, a, a.Error)
				}
				eventuallyIdle(t, h)
			}
		})
	}
}

// A line that comes byte by byte has no more time than one that comes at once.
func TestUploadThatTrickles(t *testing.T) {
	h := newHarness(t, func(cfg *Config) { cfg.Limits.Request = 200 * time.Millisecond })
	c := h.openUpload(http.DefaultClient, "")
	go func() {
		for {
			if _, err := io.WriteString(c.body, " "); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if a := c.last(); a.Error == nil || a.Error.Code != "idle" {
		t.Errorf("%+v %+v", a, a.Error)
	}
}

// A client that does not read its answers is cut off.
func TestUploadWhoseAnswersAreNotRead(t *testing.T) {
	h := newHarness(t, func(cfg *Config) { cfg.Limits.StreamWrite = 100 * time.Millisecond })
	h.state.outcomes = func(context.Context, int, uint64) ([]events.Outcome, error) {
		return slices.Repeat([]events.Outcome{events.RejectedNotFound}, uploadChunk), nil
	}
	conn := unread.Dial(t, h.server.Listener.Addr().String())
	fmt.Fprintf(conn, "POST %s/events:stream?wait=applied HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000000\r\n\r\n", base, testAdminKey)
	text := []byte(strings.Repeat(line("ann"), 1000))
	end := time.Now().Add(patience)
	for {
		if time.Now().After(end) {
			t.Fatal("the connection is still open")
		}
		if _, err := conn.Write(text); err != nil {
			break
		}
	}
	eventuallyIdle(t, h)
}
