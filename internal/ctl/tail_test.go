package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tailServer serves a tail of n events whose cursor is their number, and breaks connections as
// broken says: after how many bytes of the answer, or never if negative.
type tailServer struct {
	*httptest.Server
	n      int
	broken func() int
	mu     sync.Mutex
	starts []string // the cursor of each request
}

func newTailServer(t *testing.T, n int, broken func() int) *tailServer {
	s := &tailServer{n: n, broken: broken}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *tailServer) serve(w http.ResponseWriter, r *http.Request) {
	cursor := r.URL.Query().Get("cursor")
	s.mu.Lock()
	s.starts = append(s.starts, cursor)
	left := s.broken()
	s.mu.Unlock()
	last, _ := strconv.Atoi(cursor)
	lines := fmt.Sprintf("{\"cursor\":\"%d\"}\n", last)
	for i := last + 1; i <= s.n; i++ {
		lines += fmt.Sprintf("{\"partition\":0,\"sequence\":%d,\"cursor\":\"%d\"}\n", i, i)
	}
	if left >= 0 && left < len(lines) {
		_, _ = w.Write([]byte(lines[:left]))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write([]byte(lines))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (s *tailServer) tail(t *testing.T, w *bytes.Buffer, options TailOptions) *tail {
	t.Helper()
	client, err := NewClient(s.URL, "key")
	if err != nil {
		t.Fatal(err)
	}
	tail := newTail(client, w, options)
	tail.wait.InitialInterval = time.Microsecond
	tail.wait.MaxInterval = time.Millisecond
	tail.wait.Reset()
	return tail
}

func TestTailMissesAndRepeatsNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const events = 500
	server := newTailServer(t, events, func() int { return random.IntN(2000) })
	var out bytes.Buffer
	lost := 0
	err := server.tail(t, &out, TailOptions{From: FromNow, Count: events, Lost: func(error, time.Duration) { lost++ }}).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != events {
		t.Fatalf("%d lines, want %d", len(lines), events)
	}
	for i, line := range lines {
		if !strings.Contains(line, fmt.Sprintf("\"sequence\":%d,", i+1)) {
			t.Fatalf("line %d is %s", i+1, line)
		}
	}
	if lost == 0 {
		t.Error("no connection was lost")
	}
}

func TestTailGoesOnBehindTheCursor(t *testing.T) {
	server := newTailServer(t, 10, func() int { return -1 })
	var out bytes.Buffer
	if err := server.tail(t, &out, TailOptions{Cursor: "8", Count: 2}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "{\"partition\":0,\"sequence\":9,\"cursor\":\"9\"}\n{\"partition\":0,\"sequence\":10,\"cursor\":\"10\"}\n"
	if out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

func TestTailTakesSilenceForALostConnection(t *testing.T) {
	server := newTailServer(t, 3, func() int { return -1 })
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	var reason error
	tail := server.tail(t, &out, TailOptions{Lost: func(err error, _ time.Duration) {
		reason = err
		cancel()
	}})
	tail.silence = 50 * time.Millisecond
	if err := tail.run(ctx); err != nil {
		t.Fatal(err)
	}
	if reason == nil || !strings.Contains(reason.Error(), "nothing received for 50ms") {
		t.Errorf("lost because of %v", reason)
	}
	if strings.Count(out.String(), "\n") != 3 {
		t.Errorf("wrote %q", out.String())
	}
}

func TestTailEndsWhenNothingCanMendIt(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused":              {answer(403, `{"error":{"code":"forbidden","message":"not yours"}}`), "server: not yours (403 forbidden)"},
		"cursor too old":       {answer(410, `{"error":{"code":"cursor_gone","message":"the oldest is 7"}}`), "server: the oldest is 7 (410 cursor_gone)"},
		"down at the start":    {answer(503, "no JSON"), "server: Service Unavailable (503)"},
		"line without cursor":  {answer(200, "{\"partition\":0}\n"), "a line has no cursor"},
		"line that is no JSON": {answer(200, "<html>\n"), "decode a line"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &tailServer{Server: httptest.NewServer(test.handler)}
			t.Cleanup(server.Close)
			err := server.tail(t, new(bytes.Buffer), TailOptions{}).run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// failingWriter fails like a full disk.
type failingWriter struct{}

var errFull = errors.New("full")

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestTailReturnsTheErrorOfItsWriter(t *testing.T) {
	server := newTailServer(t, 10, func() int { return -1 })
	client, err := NewClient(server.URL, "key")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Tail(t.Context(), failingWriter{}, TailOptions{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func TestTailSurvivesARestartOfTheServer(t *testing.T) {
	answers := []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusInternalServerError}
	var mu sync.Mutex
	server := newTailServer(t, 4, func() int { return 60 })
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		status := http.StatusOK
		if len(answers) > 0 {
			status, answers = answers[0], answers[1:]
		}
		mu.Unlock()
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		inner.ServeHTTP(w, r)
	})
	var out bytes.Buffer
	if err := server.tail(t, &out, TailOptions{Count: 4}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 4 {
		t.Errorf("wrote %q", out.String())
	}
}
