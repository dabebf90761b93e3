package consumers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// everything puts random histories of all kinds of events, and entries that nobody can decode, into a log.
func (s *sinkTest) everything() {
	s.t.Helper()
	s.log.group(3)
	s.log.append(1, events.Event{ // parked, were it not strict
		Kind: events.MessageRead, App: app, Group: "g", User: reader(1), Message: "nothing", Strict: true, Content: "text", Time: 1234,
	})
	for seed := range 12 {
		for _, e := range history.Logs().Example(seed) {
			if e.Poison != "" {
				for k := range s.log.Partitions() {
					s.log.publish(fmt.Sprintf("receipts.v1.%d.batch", k), []byte(e.Poison+"\x00\xff"))
				}
				continue
			}
			for _, x := range e.Events {
				if x.Kind.Internal() {
					for k := range s.log.Partitions() {
						s.log.appendTo(k, x)
					}
				} else {
					s.log.append(1, x)
				}
			}
		}
	}
}

// TestColdReplayGivesTheSameState: folded from what ClickHouse holds, alone or followed by the log, the state is the same,
// fingerprints included.
func TestColdReplayGivesTheSameState(t *testing.T) {
	s := newSinkTest(t, 2)
	s.everything()
	r := start(t, s.log, Options{})
	f := s.fill(s.store)
	s.filled(f)
	r.caughtUp()
	s.exact()
	s.sameAnswers(r.Projector)
	s.stop(f)
	want := r.digests(t)
	for _, step := range []string{"archive", "archive and log", "archive and a short log"} {
		switch step {
		case "archive and log":
			s.log.traffic(smallTraffic(3), 3000)
			r.caughtUp()
			want = r.digests(t)
		case "archive and a short log":
			for k := range 2 {
				s.log.purge(k, s.number(fmt.Sprintf("SELECT max(sequence) FROM events WHERE partition = %d", k))+1)
			}
		}
		result := must[RebuildResult](t)(r.Rebuild(testContext(t), RebuildOptions{Archive: s.store, Switch: true}))
		if got := r.digests(t); !result.Equal || !slices.Equal(got, want) {
			t.Fatalf("%s: %+v; digests %q, want %q", step, result, got, want)
		}
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{}); !errors.Is(err, ErrNeedsArchive) {
		t.Errorf("replay from a log that was trimmed: %v", err)
	}
}

// TestLostStateComesBackFromTheArchive: without its state and without the beginning of the log a server says what to do,
// and that works.
func TestLostStateComesBackFromTheArchive(t *testing.T) {
	s := newSinkTest(t, 2)
	s.log.traffic(smallTraffic(5), 5000)
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	want := straight(t, s.log)
	for k := range 2 {
		s.log.purge(k, s.log.last(k))
	}
	lost := start(t, s.log, Options{Dir: s.dir + "-state"})
	<-lost.done
	if err := lost.wait(); !errors.Is(err, ErrNeedsArchive) {
		t.Fatalf("started without its state: %v", err)
	}
	_ = lost.Close()
	p := open(t, s.log, Options{Dir: s.dir + "-state"})
	result, err := p.Rebuild(testContext(t), RebuildOptions{Archive: s.store, Switch: true})
	if err != nil || result.Equal || !result.Switched || result.Partitions[0].Live != "" {
		t.Errorf("%+v, %v", result, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, s.log, Options{Dir: s.dir + "-state"})
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %q, want %q", got, want)
	}
	// Its own state, too, the sink brings back.
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	s.log.append(10, events.Event{Kind: events.MessageRead, App: "acme#chat", User: "nobody", Peer: "somebody", Message: "nothing"})
	s.filled(s.fill(s.store))
}
