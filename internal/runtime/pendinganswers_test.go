package runtime

import (
	"io"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Answers that clients do not take are bounded by their bytes, over either version of HTTP: beyond,
// those of one address do not keep others from theirs, and end when others need the room.
func TestAnswersThatAreNotTakenAreShared(t *testing.T) {
	const size = 24 << 20 // more than sockets hold
	for name, version := range map[string]int{"HTTP/1": 0, "HTTP/2": 1} {
		t.Run(name, func(t *testing.T) {
			body := make([]byte, size)
			large := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
			})
			a := newPendingAnswers(large, 3*size, prometheus.NewRegistry())
			one, two := askers(t, a)
			ask := []func(string) *http.Response{one, two}[version]
			const greedy, other = "203.0.113.5", "203.0.113.6"
			var held []*http.Response
			for i := range 3 {
				held = append(held, ask(greedy))
				eventually(t, "the answer waits", func() bool { return a.bytes.Taken() == (i+1)*size })
			}
			if n, err := io.Copy(io.Discard, ask(greedy).Body); err == nil {
				t.Errorf("there was room for more: %d bytes", n)
			}
			if got := testutil.ToFloat64(a.cut); got != 1 {
				t.Errorf("%v answers cut off", got)
			}
			if n, err := io.Copy(io.Discard, ask(other).Body); n != size || err != nil {
				t.Errorf("another address: %d bytes, %v", n, err)
			}
			if got := testutil.ToFloat64(a.dropped); got != 1 {
				t.Errorf("%v answers gave way", got)
			}
			for i, whole := range []bool{true, true, false} {
				if n, err := io.Copy(io.Discard, held[i].Body); (n == size && err == nil) != whole {
					t.Errorf("answer %d: %d bytes, %v", i, n, err)
				}
			}
			eventually(t, "the room is free", func() bool { return a.bytes.Taken() == 0 })
		})
	}
}

// An answer for which there is no room is cut off, whichever goroutine writes it: an upload's
// answers have one of their own.
func TestAnswersOfOtherGoroutinesAreCutOff(t *testing.T) {
	for name, version := range map[string]int{"HTTP/1": 0, "HTTP/2": 1} {
		t.Run(name, func(t *testing.T) {
			wrote := make(chan error, 2)
			apart := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					for _, size := range []int{smallAnswer + 1, 1} {
						_, err := w.Write(make([]byte, size))
						wrote <- err
					}
				}()
				<-done
			})
			a := newPendingAnswers(apart, smallAnswer, prometheus.NewRegistry())
			one, two := askers(t, a)
			ask := []func(string) *http.Response{one, two}[version]
			if n, err := io.Copy(io.Discard, ask("203.0.113.5").Body); n != 0 || err == nil {
				t.Errorf("the client took %d bytes for the whole answer: %v", n, err)
			}
			for range 2 {
				if err := <-wrote; err == nil {
					t.Error("something was written that there was no room for, or that came after it")
				}
			}
		})
	}
}
