package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"
)

// client posts an event over one connection at a time.
type client struct {
	h    *harness
	http http.Client
}

func newClient(h *harness) *client {
	return &client{h, http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
}

// post says whether the connection had been used before, and whether it will be again.
func (c *client) post(ctx context.Context) (status int, reused, again bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	rq := ndjson(readLine)
	res, err := c.http.Do(rq.build(c.h.t, c.h.server.URL).WithContext(ctx))
	if err != nil {
		return 0, reused, false, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, reused, !res.Close, err
}

func (l *fakeLog) setWaitErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitErr = err
}

// Time that is up ends one request and its connection; the time of requests that were answered does
// not.
func TestTimeIsUpForOneRequest(t *testing.T) {
	t.Parallel()
	const limit = time.Second // which a request of nothing keeps on a machine with much else to do
	h := newHarness(t, func(c *Config) { c.Limits.Request = limit })
	c := newClient(h)
	defer c.http.CloseIdleConnections()
	for i := range 3 {
		status, reused, again, err := c.post(t.Context())
		if status != 200 || reused != (i > 0) || !again || err != nil {
			t.Errorf("request %d: %d, connection used before %v, and again %v, %v", i, status, reused, again, err)
		}
		// The deadline of this request passes before the next one.
		time.Sleep(limit + 20*time.Millisecond)
	}
	h.log.setWaitErr(context.DeadlineExceeded)
	status, _, again, err := c.post(t.Context())
	if status != 503 || again || err != nil {
		t.Errorf("an event that is not durable in time: %d, connection used again %v, %v", status, again, err)
	}
	h.log.setWaitErr(nil)
	if status, reused, _, err := c.post(t.Context()); status != 200 || reused || err != nil {
		t.Errorf("after it: %d, connection used before %v, %v", status, reused, err)
	}
}

// A client that goes away ends its request, long before time is up.
func TestAClientThatGoesAwayEndsItsRequest(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.Request = time.Hour })
	h.log.setWaitErr(context.DeadlineExceeded)
	c := newClient(h)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if status, _, _, err := c.post(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", status, err)
	}
	// The server waits for its handlers here.
	done := make(chan struct{})
	go func() { h.server.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("the request goes on")
	}
}

// A context whose end nobody waits for has no timer, and is otherwise that above it; one that is
// waited for ends in time.
func TestLazyTimeout(t *testing.T) {
	type key struct{}
	above, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
	p := &lazyTimeout{Context: above, limit: time.Millisecond}
	// The limit passes, and nobody waits for it.
	if time.Sleep(2 * time.Millisecond); p.Err() != nil || p.Value(key{}) != 1 || p.timed != nil {
		t.Errorf("%v, %v, %v", p.Err(), p.Value(key{}), p.timed)
	}
	p.stop()
	child, stop := context.WithCancel(p)
	defer stop()
	<-child.Done()
	if !errors.Is(context.Cause(child), context.DeadlineExceeded) || !errors.Is(p.Err(), context.DeadlineExceeded) || p.Value(key{}) != 1 {
		t.Errorf("%v, %v, %v", context.Cause(child), p.Err(), p.Value(key{}))
	}
	p.stop()
	p = &lazyTimeout{Context: above, limit: time.Hour}
	time.AfterFunc(time.Millisecond, cancel)
	if <-p.Done(); !errors.Is(p.Err(), context.Canceled) {
		t.Errorf("%v", p.Err())
	}
}
