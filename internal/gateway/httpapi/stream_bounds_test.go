package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/unread"
	"github.com/receiptd/receiptd/projections"
)

// TestStreamSendsTheSummaryAfterAnOverflow pushes more at once than a subscription holds.
func TestStreamSendsTheSummaryAfterAnOverflow(t *testing.T) {
	h := newHarness(t)
	c := h.openStream("alice", "")
	h.state.setSummary("alice", []uint64{5000, 9}, projections.SummaryItem{
		Message: "m1", Group: "g1", Count: 3, LastReader: "dave", FirstReadAt: sentAt, LastReadAt: sentAt,
	})
	var effects []projections.Effect
	for i := range uint64(2000) {
		effects = append(effects, read(0, i+8, fmt.Sprint("m", i), "bob", 2, 9))
	}
	h.notify.Push(effects)
	for e := (streamEvent{}); e.name != "resync"; { // what was sent before the bound was reached
		var err error
		if e, err = c.next(); err != nil || e.name != "read" && e.name != "resync" {
			t.Fatalf("event %+v, %v", e, err)
		}
	}
	e := c.want("statistic", "Statistic")
	if upto, err := h.api.summaries.Upto(testApp, "alice", "", e.id); err != nil || !slices.Equal(upto, []uint64{5000, 9}) {
		t.Errorf("cursor stands at %v, %v", upto, err)
	}
	h.notify.Push([]projections.Effect{read(0, 5001, "m1", "erin", 4, 4)})
	c.want("read", "StreamRead")
}

// TestSlowReaderIsDroppedAndHarmsNobody has one client that never reads, and another that does.
func TestSlowReaderIsDroppedAndHarmsNobody(t *testing.T) {
	t.Parallel()
	const writeTime = 4 * time.Second
	h := newHarness(t, func(c *Config) { c.Limits.StreamWrite = writeTime })
	conn := unread.Dial(t, h.server.Listener.Addr().String())
	fmt.Fprintf(conn, "GET %s/users/alice/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", base, testAdminKey)
	quick := h.openStream("bob", "")
	for !h.notify.Online(testApp, "alice") {
		time.Sleep(time.Millisecond)
	}

	content := strings.Repeat("x", events.MaxContentBytes)
	slowest := time.Duration(0)
	deadline := time.Now().Add(patience)
	for i := uint64(1); h.notify.Online(testApp, "alice"); i++ {
		if time.Now().After(deadline) {
			t.Fatal("the slow reader is still connected")
		}
		toSlow, toQuick := read(0, i, fmt.Sprint("m", i), "bob", 1, 9), read(0, i, fmt.Sprint("m", i), "carol", 1, 9)
		toSlow.Content, toQuick.To = content, "bob"
		began := time.Now()
		h.notify.Push([]projections.Effect{toSlow, toQuick})
		slowest = max(slowest, time.Since(began))
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
		if i%64 == 0 {
			quick.want("read", "")
		}
	}
	t.Logf("slowest push %v", slowest)
	if slowest > writeTime*3/4 { // far more than it takes, less than a write that waits
		t.Errorf("the fold waited %v for a slow reader", slowest)
	}
	metrics := request{method: "GET", path: "/metrics", token: "-"}
	for !strings.Contains(string(h.do(metrics).body), `receiptd_streams_ended_total{reason="slow"} 1`) {
		if time.Now().After(deadline) {
			t.Fatal("the slow stream is not counted as such")
		}
		time.Sleep(time.Millisecond)
	}
	quick.want("read", "")
}

func TestStreamsAreBounded(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.StreamsPerUser = 2; c.Limits.Streams = 3 })
	first := h.openStream("alice", "")
	h.openStream("alice", "")
	a := h.want(request{method: "GET", path: base + "/users/alice/stream"}, 429, "too_many_streams")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.openStream("bob", "")
	h.want(request{method: "GET", path: base + "/users/carol/stream"}, 503, "too_many_streams")

	first.close() // makes room again
	deadline := time.Now().Add(patience)
	for h.api.streams.open() == 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	h.openStream("carol", "")
}

// An app with very many users holds all slots only until another app asks for some: those streams
// end that began last, with a word, and the app that was quiet gets as many as the other one.
func TestStreamsAreSharedByApps(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.Streams = 4 })
	h.state.settings["acme#mail"] = events.DefaultSettings()
	quiet := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		rq := request{method: "GET", path: "/v1/apps/acme/mail/users/zoe/stream"}
		res, err := http.DefaultClient.Do(rq.build(t, h.server.URL).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res.StatusCode
	}
	var greedy []*streamClient
	for i := range 4 {
		greedy = append(greedy, h.openStream(fmt.Sprint("user", i), ""))
	}
	for i, want := range []int{200, 200, 503} {
		if got := quiet(); got != want {
			t.Fatalf("stream %d of the quiet app: %d, want %d", i, got, want)
		}
	}
	for _, i := range []int{3, 2} {
		if e := greedy[i].want("closing", ""); e.data["reason"] != "too_many_streams" {
			t.Errorf("stream %d ends with %v", i, e.data)
		}
	}
	h.want(request{method: "GET", path: base + "/users/user3/stream"}, 503, "too_many_streams")
	if n := h.api.streams.open(); n != 4 {
		t.Errorf("%d streams are counted", n)
	}
}
