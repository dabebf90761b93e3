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

func TestUploadsAreBounded(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 2*uploadBytes + uploadChunk}))
	c := h.openUpload(http.DefaultClient, "")
	h.openUpload(http.DefaultClient, "")
	h.want(request{method: "POST", path: base + "/events:stream", contentType: "application/x-ndjson", body: line("ann")}, 503, "overloaded")
	// A line beyond what a stream has anyway takes room, too.
	go func() { _, _ = io.WriteString(c.body, strings.Repeat(" ", uploadLine)) }()
	if a := c.last(); a.Error == nil || a.Error.Code != "overloaded" {
		t.Errorf("%+v", a)
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
