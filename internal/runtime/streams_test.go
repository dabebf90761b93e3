package runtime

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// One connection of HTTP/2 carries hundreds of requests, whose client may take no answer: those of
// one address do not keep others from being answered, and end when others need their slots.
func TestRequestsOverHTTP2AreSharedByAddresses(t *testing.T) {
	over := make(chan string, 16)
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { over <- r.RemoteAddr }()
		for piece := make([]byte, 64<<10); ; { // until the client takes no more, and longer
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	one, two := askers(t, newStreams(endless, 4, prometheus.NewRegistry()))
	ask := func(ask func(string) *http.Response, from string) int { return ask(from).StatusCode }
	for i, want := range []int{200, 200, 200, 200, 503} {
		if got := ask(two, "203.0.113.5"); got != want {
			t.Fatalf("request %d: %d, want %d", i, got, want)
		}
	}
	if got := ask(two, "203.0.113.6"); got != 200 {
		t.Errorf("from another address: %d", got)
	}
	select {
	case from := <-over:
		if from != "203.0.113.5:1" {
			t.Errorf("the request of %s gave way", from)
		}
	case <-time.After(time.Minute):
		t.Error("nothing gave way")
	}
	if got := ask(one, "203.0.113.5"); got != 200 {
		t.Errorf("over HTTP/1: %d", got)
	}
}

// watchedWriter notices that it is used after its handler has returned, which over HTTP/2 ends the
// process.
type watchedWriter struct {
	*httptest.ResponseRecorder
	returned, late atomic.Bool
}

func (w *watchedWriter) SetWriteDeadline(time.Time) error {
	if w.returned.Load() {
		w.late.Store(true)
	}
	return nil
}

// A request that gives way may end at the same moment: its writer is left alone from then on.
func TestAnswersThatAreOverAreLeftAlone(t *testing.T) {
	waits := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := newStreams(waits, 2, prometheus.NewRegistry())
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		var under sync.WaitGroup
		var writers [2]*watchedWriter
		for i := range writers {
			w := &watchedWriter{ResponseRecorder: httptest.NewRecorder()}
			writers[i] = w
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			r.ProtoMajor, r.RemoteAddr = 2, "203.0.113.5:1"
			under.Go(func() {
				s.ServeHTTP(w, r)
				w.returned.Store(true)
			})
		}
		for s.slots.Taken() < 2 {
			runtime.Gosched()
		}
		other := s.slots.Take("203.0.113.6", func() {})
		cancel()
		under.Wait()
		other.Release()
		for range 10 {
			runtime.Gosched()
		}
		for _, w := range writers {
			if w.late.Load() {
				t.Fatal("the writer of a request that is over was used")
			}
		}
	}
}

// askers serve a handler and return what asks it over HTTP/1 and over HTTP/2, each time in a
// connection of its own, as if from an address. The body is not read.
func askers(t *testing.T, handler http.Handler) (one, two func(from string) *http.Response) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("From") + ":1"
		handler.ServeHTTP(w, r)
	}))
	var both, first, second http.Protocols
	both.SetUnencryptedHTTP2(true)
	both.SetHTTP1(true)
	first.SetHTTP1(true)
	second.SetUnencryptedHTTP2(true)
	server.Config.Protocols = &both
	server.Start()
	t.Cleanup(server.CloseClientConnections)
	over := func(protocols *http.Protocols) func(string) *http.Response {
		return func(from string) *http.Response {
			client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("From", from)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() })
			return res
		}
	}
	return over(&first), over(&second)
}
