package load

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// system counts readers, and takes a millisecond for each request, however many are under way.
type system struct {
	mu             sync.Mutex
	readers        map[string]map[string]bool
	underWay, most int
	requests       int
	failAfter      int // requests; 0 for never
}

var errFull = errors.New("full")

func (s *system) Submit(_ context.Context, evs []events.Event) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests++; s.failAfter > 0 && s.requests > s.failAfter {
		return nil, errFull
	}
	for _, e := range evs {
		if e.Kind == events.MessageRead {
			if s.readers[e.Message] == nil {
				s.readers[e.Message] = map[string]bool{}
			}
			s.readers[e.Message][e.User] = true
		}
	}
	s.underWay++
	s.most = max(s.most, s.underWay)
	return ticket{s, time.Now().Add(time.Millisecond)}, nil
}

type ticket struct {
	system *system
	until  time.Time
}

func (t ticket) Wait(context.Context) error {
	time.Sleep(time.Until(t.until)) // as long as the system takes for it
	t.system.mu.Lock()
	defer t.system.mu.Unlock()
	t.system.underWay--
	return nil
}

func (s *system) Load(ctx context.Context, evs []events.Event) error {
	t, err := s.Submit(ctx, evs)
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

func (s *system) Counts(_ context.Context, _ string, messages []string) (map[string]int, error) {
	counts := map[string]int{}
	for _, id := range messages {
		counts[id] = len(s.readers[id])
	}
	return counts, nil
}

func newLoad(t *testing.T) (*system, *Load) {
	t.Helper()
	traffic, err := sim.New(sim.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	streams, err := traffic.Generators(8)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{readers: map[string]map[string]bool{}}
	return s, &Load{System: s, Connections: 4, Batch: 10, Streams: streams}
}

// Every request is waited for, no more are under way than were asked for, and the counts are the
// traffic's.
func TestRequestsUnderWay(t *testing.T) {
	for name, test := range map[string]struct {
		underWay, most int
		rate           float64
	}{
		"one after the other": {0, 4, 0},
		// The oldest is waited for once another was submitted.
		"pipelined": {8, 4 * 9, 0},
		"scheduled": {8, 100, 80000}, // in time, not in what is under way
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, x := newLoad(t)
				x.UnderWay = test.underWay
				var latencies measure.Samples
				done, err := x.Phase(t.Context(), 100*time.Millisecond, test.rate, &latencies)
				if err != nil {
					t.Fatal(err)
				}
				if s.underWay != 0 || s.most > test.most || latencies.Len() != s.requests || done.Events < 100*40 {
					t.Errorf("%d of %d requests under way, at most %d; %+v", s.underWay, s.requests, s.most, done)
				}
				if checked, err := x.Check(t.Context(), 1); err != nil || checked == 0 {
					t.Errorf("%d counts: %v", checked, err)
				}
			})
		})
	}
}

// TestAPhaseOfFewRequestsEnds: a phase lasts as long as it was told to, however seldom a connection
// has a request.
func TestAPhaseOfFewRequestsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, x := newLoad(t)
		start := time.Now()
		var latencies measure.Samples
		done, err := x.Phase(t.Context(), time.Second, 0.1, &latencies)
		if took := time.Since(start); err != nil || took != time.Second || done.Took != took || s.requests != 1 || latencies.Len() != 1 {
			t.Errorf("%d requests in %v, %+v: %v", s.requests, took, done, err)
		}
	})
}

func TestWrongCountsAreNamed(t *testing.T) {
	s, x := newLoad(t)
	if _, err := x.Phase(t.Context(), 20*time.Millisecond, 0, nil); err != nil {
		t.Fatal(err)
	}
	for id := range s.readers {
		s.readers[id]["somebody"] = true
		break
	}
	if _, err := x.Check(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "readers, not") || !strings.HasPrefix(err.Error(), "1 of ") {
		t.Errorf("a count is wrong: %v", err)
	}
}

func TestAFailureEndsThePhase(t *testing.T) {
	for name, underWay := range map[string]int{"one after the other": 0, "pipelined": 8} {
		t.Run(name, func(t *testing.T) {
			s, x := newLoad(t)
			s.failAfter, x.UnderWay = 20, underWay
			if _, err := x.Phase(t.Context(), time.Hour, 0, nil); !errors.Is(err, errFull) {
				t.Errorf("%v", err)
			}
		})
	}
}
