package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A stop waits for a body as long as something of it comes, and not for one that stands still,
// whether a handler reads it or nobody does any more.
func TestStopDoesNotWaitForStalledBodies(t *testing.T) {
	got := make(chan string, 1)
	handled := make(chan struct{}, 3)
	a := &API{cfg: Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Limits: Limits{}.withDefaults()}}
	a.draining, a.drain = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/read", a.serve(route{handle: func(c *call) error {
		b, err := io.ReadAll(c.r.Body)
		if err == nil {
			got <- string(b)
		}
		return nil
	}}))
	mux.Handle("/ignore", a.serve(route{handle: func(*call) error { return nil }}))
	s := a.Server()
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handled <- struct{}{}
		mux.ServeHTTP(&response{ResponseWriter: w}, r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	dial := func(path string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nfive.", path)
		return c
	}
	dial("/read")
	dial("/ignore")
	coming := dial("/read")
	for range 3 {
		<-handled
	}
	stopped := make(chan error, 1)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { stopped <- s.Shutdown(ctx) }()
	for range 5 {
		time.Sleep(stalledAfter / 3) // in all longer than what stands still is waited for
		fmt.Fprint(coming, "five.")
	}
	select {
	case body := <-got:
		if body != strings.Repeat("five.", 6) {
			t.Errorf("got %q", body)
		}
	case <-time.After(10 * time.Second):
		t.Error("a body that came slowly was cut off")
	}
	if err := <-stopped; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
}

// A connection gives way after each of its requests, though the next one is there already: another
// goroutine sees every few of them.
func TestRequestsInARowGiveWay(t *testing.T) {
	const n = 2000
	var served atomic.Int64
	begun, over := make(chan struct{}), make(chan struct{})
	a := &API{cfg: Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Limits: Limits{}.withDefaults()}}
	s := a.Server()
	s.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		switch served.Add(1) {
		case 1:
			close(begun)
		case n:
			close(over)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	go func() { _, _ = io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", n)) }()
	<-begun
	most, last := int64(0), served.Load()
	for looking := true; looking; {
		select {
		case <-over:
			looking = false
		default:
			runtime.Gosched()
		}
		now := served.Load()
		most, last = max(most, now-last), now
	}
	if most > 20 {
		t.Errorf("%d requests were served in a row, while another goroutine waited", most)
	}
}
