package child

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echoServer answers with what it was sent, "close" by ending the connection and "wait" when the
// test ends. It counts connections.
func echoServer(t *testing.T) (c *connections, opened *atomic.Int32) {
	t.Helper()
	opened = new(atomic.Int32)
	end := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch string(body) {
		case "close":
			w.Header().Set("Connection", "close")
		case "wait":
			<-end
		case "refuse":
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("X-Test"), string(body)}, " "))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	c = &connections{address: s.Listener.Addr().String()}
	t.Cleanup(func() {
		close(end)
		c.close()
		s.Close()
	})
	return c, opened
}

func TestRequestsShareAConnection(t *testing.T) {
	c, opened := echoServer(t)
	ask := func(body, want string, wantStatus int) {
		t.Helper()
		status, answer, err := c.ask(t.Context(), "POST", "/a?b=c", "X-Test: x\r\n", []byte(body))
		if err != nil || status != wantStatus || string(answer) != "POST /a?b=c x "+want {
			t.Errorf("%d %q, %v", status, answer, err)
		}
	}
	ask("one", "one", 200)
	ask("refuse", "refuse", 418)
	ask(strings.Repeat("long", 50_000), strings.Repeat("long", 50_000), 200) // comes back in chunks
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for one request after the other", n)
	}
	ask("close", "close", 200)
	ask("two", "two", 200)
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections after one was closed", n)
	}
	c.idle[0].used = time.Now().Add(-idleFor)
	ask("three", "three", 200)
	if n := opened.Load(); n != 3 {
		t.Errorf("%d connections after one was idle for long", n)
	}
}

func TestARequestEndsWithItsContext(t *testing.T) {
	c, opened := echoServer(t)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	if _, _, err := c.ask(ctx, "GET", "/", "", []byte("wait")); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	// Its answer may still come, so the connection is not for the next.
	if status, _, err := c.ask(t.Context(), "GET", "/", "", nil); status != 200 || err != nil || opened.Load() != 2 {
		t.Errorf("%d, %v, %d connections", status, err, opened.Load())
	}
}
