package projector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/consumers/retention"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// everything puts random histories of all kinds of events, and entries that nobody can decode, into
// a log.
func everything(s *consumertest.Sink) {
	s.T.Helper()
	s.Log.Group(3)
	s.Log.Put(1, events.Event{ // parked, were it not strict
		Kind: events.MessageRead, App: app, Group: "g", User: reader(1), Message: "nothing", Strict: true, Content: "text", Time: 1234,
	})
	for seed := range 12 {
		for _, e := range history.Logs().Example(seed) {
			if e.Poison != "" {
				for k := range s.Log.Partitions() {
					s.Log.PublishRaw(fmt.Sprintf("receipts.v1.%d.batch", k), []byte(e.Poison+"\x00\xff"))
				}
				continue
			}
			for _, x := range e.Events {
				if x.Kind.Internal() {
					for k := range s.Log.Partitions() {
						s.Log.PutTo(k, x)
					}
				} else {
					s.Log.Put(1, x)
				}
			}
		}
	}
}

// TestColdReplayGivesTheSameState: folded from what ClickHouse holds, alone or followed by the log,
// the state is the same, fingerprints included.
func TestColdReplayGivesTheSameState(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	everything(s)
	r := start(t, s.Log, Options{})
	f := s.Fill(s.Store)
	s.Filled(f)
	r.caughtUp()
	s.Exact()
	s.SameAnswers(r.Projector)
	s.Stop(f)
	want := r.digests(t)
	for _, step := range []string{"archive", "archive and log", "archive and a short log"} {
		switch step {
		case "archive and log":
			s.Log.Traffic(smallTraffic(3), 3000)
			r.caughtUp()
			want = r.digests(t)
		case "archive and a short log":
			for k := range 2 {
				s.Log.Purge(k, s.Number(fmt.Sprintf("SELECT max(sequence) FROM events WHERE partition = %d", k))+1)
			}
		}
		result := must[RebuildResult](t)(r.Rebuild(testContext(t), RebuildOptions{Archive: s.Store, Switch: true}))
		if got := r.digests(t); !result.Equal || !slices.Equal(got, want) {
			t.Fatalf("%s: %+v; digests %q, want %q", step, result, got, want)
		}
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{}); !errors.Is(err, ErrNeedsArchive) {
		t.Errorf("replay from a log that was trimmed: %v", err)
	}
}

// TestLostStateComesBackFromTheArchive: without its state and without the beginning of the log a
// server says what to do, and that works.
func TestLostStateComesBackFromTheArchive(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	s.Log.Traffic(smallTraffic(5), 5000)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	want := straight(t, s.Log)
	for k := range 2 {
		s.Log.Purge(k, s.Log.Last(k))
	}
	lost := start(t, s.Log, Options{Dir: s.Dir + "-state"})
	<-lost.done
	if err := lost.wait(); !errors.Is(err, ErrNeedsArchive) {
		t.Fatalf("started without its state: %v", err)
	}
	_ = lost.Close()
	p := open(t, s.Log, Options{Dir: s.Dir + "-state"})
	result, err := p.Rebuild(testContext(t), RebuildOptions{Archive: s.Store, Switch: true})
	if err != nil || result.Equal || !result.Switched || result.Partitions[0].Live != "" {
		t.Errorf("%+v, %v", result, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, s.Log, Options{Dir: s.Dir + "-state"})
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %q, want %q", got, want)
	}
	// Its own state, too, the sink brings back.
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Fatal(err)
	}
	s.Log.Put(10, events.Event{Kind: events.MessageRead, App: "acme#chat", User: "nobody", Peer: "somebody", Message: "nothing"})
	s.Filled(s.Fill(s.Store))
}

// TestTrimmedLogKeepsWorking: behind what ClickHouse and all folds have, entries leave; everything
// goes on, also after a restart, and is the same when it is folded again from the archive.
func TestTrimmedLogKeepsWorking(t *testing.T) {
	ctx := testContext(t)
	s := consumertest.NewSink(t, 2)
	s.Log.Traffic(smallTraffic(29), 5000)
	dir := t.TempDir()
	p := start(t, s.Log, Options{Dir: dir})
	f := s.Fill(s.Store)
	s.Filled(f)
	p.caughtUp()
	r := retention.Trimmer{Log: s.Log, Bytes: 1, Logger: natstest.Logger(t), Safe: func(_ context.Context, k int) (uint64, error) {
		folded, err := p.Durable(k)
		return min(folded, f.Safe(k)), err
	}}
	eventually(t, "old entries have left", func() bool {
		left := true
		for k := range 2 {
			if err := r.Trim(ctx, k); err != nil {
				t.Fatal(err)
			}
			first, last, err := s.Log.Bounds(ctx, k)
			left = left && err == nil && first == last
		}
		return left
	})
	s.Log.Traffic(smallTraffic(30), 2000)
	p.crash()
	s.Stop(f)
	p = start(t, s.Log, Options{Dir: dir})
	f = s.Fill(s.Store)
	s.Filled(f)
	p.caughtUp()
	if result, err := p.Rebuild(ctx, RebuildOptions{Archive: s.Store}); err != nil || !result.Equal {
		t.Errorf("%+v, %v", result, err)
	}
}
