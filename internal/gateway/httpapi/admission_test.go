package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/lab/metrictest"
)

// gated sets up a gate of its own for a test.
func gated(o admission.Options) func(*Config) {
	return func(c *Config) {
		o.Registerer = c.Registry
		c.Gate = admission.New(o)
	}
}

// metric is the value of a metric without labels.
func (h *harness) metric(name string) (value float64) {
	h.t.Helper()
	return metrictest.Value(h.t, h.api.cfg.Registry, name)
}

// await waits until a metric has a value.
func (h *harness) await(name string, value float64) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); h.metric(name) != value; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is %v, not %v", name, h.metric(name), value)
		}
	}
}

// upload begins a request, of which it sends no more than the header and what is given.
func (h *harness) upload(path, header, sent string) net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n%s", path, testAdminKey, header, sent)
	return conn
}

// What counts is what has arrived, not what a body may become: uploads that stand still keep nobody
// out, however large they will be.
func TestBodiesCountAsTheyArrive(t *testing.T) {
	h := newHarness(t)
	const uploads = 33
	for range uploads {
		h.upload(eventsPath, "Content-Type: application/x-ndjson\r\nContent-Length: 8388608\r\n", readLine+"\n")
	}
	h.await("receiptd_admission_held_bytes", uploads*firstBlock)
	h.want(ndjson(strings.Repeat(readLine+"\n", 1000)), 200, "")
}

// Many small bodies of unknown length come in at the same time.
func TestSmallBodiesOfUnknownLength(t *testing.T) {
	h := newHarness(t)
	var clients sync.WaitGroup
	for range 60 {
		clients.Go(func() {
			r := ndjson(readLine).build(t, h.server.URL)
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(r.Body)), -1
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
		})
	}
	clients.Wait()
}

// What requests hold is bounded, given back, and a refusal says when to come again.
func TestBodiesHeldAreBounded(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 128 << 10}))
	large := ndjson(strings.Repeat(readLine+"\n", 2000))
	a := h.want(large, 503, "overloaded")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.want(ndjson(readLine), 200, "")
	h.await("receiptd_admission_held_bytes", 0)
	h.await("receiptd_admission_decoding_bytes", 0)

	h.log.submitErr = io.ErrUnexpectedEOF // an error of any kind gives back, too
	h.want(ndjson(readLine), 500, "")
	h.want(ndjson("{"), 400, "")
	h.await("receiptd_admission_held_bytes", 0)
	h.await("receiptd_admission_decoding_bytes", 0)
}

// While the log has no room, what waits stays within the queue; it is refused in time, and what
// comes then at once.
func TestWhatWaitsIsShort(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 4 << 20, Decoding: 1}), func(c *Config) { c.Limits.Submit = 500 * time.Millisecond })
	h.log.block = make(chan struct{})
	body := ndjson(strings.Repeat(readLine+"\n", 1000))
	var clients sync.WaitGroup
	var mu sync.Mutex
	status := map[int]int{}
	for range 60 {
		clients.Go(func() {
			r := body.build(t, h.server.URL)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != 200 && res.Header.Get("Retry-After") == "" {
				t.Errorf("%d without Retry-After", res.StatusCode)
			}
			mu.Lock()
			status[res.StatusCode]++
			mu.Unlock()
		})
	}
	clients.Wait()
	if status[503] != 60 {
		t.Errorf("answers by status: %v", status)
	}
	close(h.log.block)
	h.await("receiptd_admission_queue_requests", 0)
	h.want(ndjson(readLine), 200, "")
}

// A question's turn does not last as long as its client takes to ask.
func TestSlowQuestionKeepsNobodyWaiting(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Questions: 1}))
	conn := h.upload(base+"/messages:counts", "Content-Type: application/json\r\nContent-Length: 14\r\n", `{"ids":`)
	h.await("receiptd_http_in_flight", 1)
	h.want(request{method: "POST", path: base + "/messages:counts", body: `{"ids":["m1"]}`}, 200, "")
	fmt.Fprint(conn, `["m1"]}`)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%v, %v", res, err)
	}
	h.await("receiptd_admission_questions", 0)
}
