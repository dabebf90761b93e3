package presence

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/receiptd/receiptd/internal/cluster"
)

const app = "acme#chat"

// world is the nodes that listen, and a bus between them. Its nodes are asked whether they are
// heard of or not.
type world struct {
	cluster.Bus
	mu      sync.Mutex
	listen  map[string]func([]byte) []byte
	paused  map[string]bool
	largest int // question, in bytes
}

func newWorld() *world {
	return &world{listen: map[string]func([]byte) []byte{}, paused: map[string]bool{}}
}

func (w *world) Ask(ctx context.Context, node string, question []byte) ([]byte, error) {
	w.mu.Lock()
	w.largest = max(w.largest, len(question))
	f, paused := w.listen[node], w.paused[node]
	w.mu.Unlock()
	switch {
	case paused:
		<-ctx.Done()
		return nil, ctx.Err()
	case f == nil:
		return nil, cluster.ErrNobody
	}
	return f(question), ctx.Err()
}

func (w *world) Answer(node string, f func([]byte) []byte) (stop func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listen[node] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.listen, node)
	}, nil
}

// sessions are the users who are connected to a node, by app, and until when.
type sessions struct {
	mu    sync.Mutex
	users map[[2]string]time.Time
}

func connected(users ...string) *sessions {
	s := &sessions{users: map[[2]string]time.Time{}}
	for _, user := range users {
		s.users[[2]string{app, user}] = time.Time{}
	}
	return s
}

func (s *sessions) OnlineHere(app, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.users[[2]string{app, user}]
	return is
}

func (s *sessions) RenewHere(app, user string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[[2]string{app, user}] = expires
}

func (s *sessions) until(user string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[[2]string{app, user}]
}

// node runs one until kill.
func (w *world) node(t *testing.T, name string, s Sessions, others ...string) (e *OtherNodes, kill func()) {
	e = New(Options{Node: name, Others: func() []string { return others }, Bus: w, Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, s) }()
	synctest.Wait()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func users(from, to int) (list []string) {
	for i := from; i < to; i++ {
		// As long as a name may be, in JSON.
		list = append(list, strings.Repeat("&", 120)+fmt.Sprintf("%08d", i))
	}
	return list
}

func TestUsersOfAllNodesAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		atB, atC := users(0, 1200), users(1100, 2500)
		a, killA := w.node(t, "a", connected(users(2500, 2600)...), "b", "c")
		_, killB := w.node(t, "b", connected(atB...))
		_, killC := w.node(t, "c", connected(atC...))
		defer killA()
		defer killB()
		defer killC()
		all := users(0, 2700)
		if got := a.Online(t.Context(), app, all); !slices.Equal(got, all[:2500]) {
			t.Errorf("%d users are online elsewhere, want 2500", len(got))
		}
		if got := a.Online(t.Context(), "acme#other", all); len(got) > 0 {
			t.Errorf("%d users of another app", len(got))
		}
		if w.largest > 512<<10 {
			t.Errorf("a question has %d bytes, and a message of NATS a mebibyte at most", w.largest)
		}
		if got := a.Online(t.Context(), app, nil); len(got) > 0 {
			t.Errorf("of nobody %d are online", len(got))
		}
	})
}

// TestUsersOfNodesThatAreGoneAreOffline: one that died costs no time, one that stands still a
// second, and the users of neither count; those of the others do.
func TestUsersOfNodesThatAreGoneAreOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, killA := w.node(t, "a", connected(), "b", "c", "d")
		_, killB := w.node(t, "b", connected("ben"))
		_, killC := w.node(t, "c", connected("cleo"))
		_, killD := w.node(t, "d", connected("dan"))
		defer killA()
		defer killC()
		defer killD()
		all := []string{"cleo", "ben", "dan", "eve"}
		want := func(took time.Duration, users ...string) {
			t.Helper()
			began := time.Now()
			if got := a.Online(t.Context(), app, all); !slices.Equal(got, users) || time.Since(began) != took {
				t.Errorf("%q after %v, want %q after %v", got, time.Since(began), users, took)
			}
		}
		want(0, "cleo", "ben", "dan")
		killB()
		want(0, "cleo", "dan")
		w.mu.Lock()
		w.paused["c"] = true
		w.mu.Unlock()
		want(patience, "dan")
		for result, n := range map[string]float64{answered: 3 + 2 + 1, unanswered: 0 + 1 + 2} {
			if got := testutil.ToFloat64(a.asked.WithLabelValues(result)); got != n {
				t.Errorf("%s: %v, want %v", result, got, n)
			}
		}
	})
}

func TestConnectionsElsewhereAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		atB, atC := connected("ann", "ben"), connected("ann")
		a, killA := w.node(t, "a", connected(), "b", "c")
		_, killB := w.node(t, "b", atB)
		_, killC := w.node(t, "c", atC)
		defer killA()
		defer killB()
		defer killC()
		until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		a.Renew(t.Context(), app, "ann", until)
		if !atB.until("ann").Equal(until) || !atC.until("ann").Equal(until) || !atB.until("ben").IsZero() {
			t.Errorf("until %v and %v, want %v; of another user until %v", atB.until("ann"), atC.until("ann"), until, atB.until("ben"))
		}
		a.Renew(t.Context(), app, "cleo", until)
		if atB.OnlineHere(app, "cleo") {
			t.Error("who is not connected is renewed")
		}
	})
}
