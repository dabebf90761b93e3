package projector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

func TestRebuildOfHealthyStateIsEqual(t *testing.T) {
	log := openLog(t, 2)
	log.Traffic(smallTraffic(3), 8000)
	r := start(t, log, Options{})
	r.caughtUp()
	before := r.digests(t)
	for _, o := range []RebuildOptions{{}, {Switch: true}, {Switch: true, Projection: allProjections}, {Switch: true, Projection: "readset"}} {
		var last Progress
		o.Progress = func(p Progress) {
			if p.Entries < last.Entries || p.Events < last.Events || p.Entries > p.Total {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		}
		result, err := r.Rebuild(testContext(t), o)
		if err != nil {
			t.Fatal(err)
		}
		if !result.Equal || result.Switched != o.Switch || result.EventsPerS <= 0 {
			t.Errorf("%+v: %+v", o, result)
		}
		entries := uint64(0)
		for k, p := range result.Partitions {
			entries += log.Last(k)
			if p.Partition != k || p.Position != log.Last(k) || p.Live != before[k] || p.Replayed != before[k] || p.Keys == 0 || p.Difference != nil {
				t.Errorf("partition %d: %+v, want digest %s at %d", k, p, before[k], log.Last(k))
			}
		}
		if last.Entries != entries || last.Total != entries || last.Events != result.Events || result.Events < 8000 {
			t.Errorf("progress ended with %+v, the log has %d entries, the result %d events", last, entries, result.Events)
		}
		if got := r.digests(t); !slices.Equal(got, before) {
			t.Errorf("%+v changed the state: %v, was %v", o, got, before)
		}
	}
	onlyGeneration(t, r.Projector, 3) // two of them switched to another one
	r.stop()
}

// Questions are asked all the time, receipts keep coming, and three rebuilds switch meanwhile: no
// question fails, no receipt is lost or counted twice, and the state is that of the log.
func TestRebuildUnderLiveTraffic(t *testing.T) {
	log := openLog(t, 2)
	config := smallTraffic(4)
	plan := must[*sim.Traffic](t)(sim.New(config))
	log.Configure(plan.Apps()[0], plan.Settings(), 1)
	log.Put(100, plan.Setup()...)
	g := must[[]*sim.Generator](t)(plan.Generators(1))[0]
	log.Put(500, g.Next(nil, 2000)...)
	log.Group(3)
	log.Put(10, burst(0, 10, 3)...)
	o := Options{Dir: t.TempDir(), CacheBytes: 4 << 20, CheckpointEvery: 10 * time.Millisecond, FlushEvery: 300 * time.Millisecond}
	r := start(t, log, o)
	r.caughtUp()

	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			if _, err := log.Append(context.Background(), g.Next(nil, 100)); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	var asked atomic.Int64
	for _, ask := range questions(r.Projector) {
		busy.Go(func() {
			for ctx.Err() == nil {
				if err := ask(); err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}
	for i, o := range []RebuildOptions{{Switch: true}, {Switch: true, Projection: "unread"}, {Switch: true}} {
		result, err := r.Rebuild(testContext(t), o)
		if err != nil || !result.Equal {
			t.Errorf("rebuild %d: %+v, %v", i, result, err)
		}
	}
	cancel()
	busy.Wait()
	t.Logf("%d questions", asked.Load())
	r.caughtUp()
	checkCounts(t, r.Projector, g)
	want := straight(t, log)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	onlyGeneration(t, r.Projector, 3) // the one in between was removed
	r.stop()
	r = start(t, log, o)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("after a restart: digests %v, want %v", got, want)
	}
}

// questions are some that have one right answer whatever else is folded: about the group of
// [testLog.group].
func questions(p *Projector) []func() error {
	ids := []string{message(0), message(3), "none"}
	return []func() error{
		func() error {
			m, err := p.Message(app, message(rand.IntN(10)))
			if err != nil || m.Read != 3 || m.Eligible != 3 || m.From != "alice" {
				return fmt.Errorf("message: %+v, %w", m, orWrong(err))
			}
			return nil
		},
		func() error {
			counts, err := p.Counts(app, ids)
			if err != nil || len(counts) != 2 || counts[ids[0]].Read != 3 {
				return fmt.Errorf("counts: %v, %w", counts, orWrong(err))
			}
			return nil
		},
		func() error {
			list, err := p.Conversations(app, reader(1))
			if err != nil || len(list) != 1 || list[0].Group != "g" || list[0].Unread != 10 {
				return fmt.Errorf("conversations: %v, %w", list, orWrong(err))
			}
			s, _, err := p.Summary(app, "alice", "")
			if err != nil || len(s.Items) != 10 {
				return fmt.Errorf("statistics: %v, %w", s, orWrong(err))
			}
			for _, s := range p.Stats() {
				if s.Sequence == 0 {
					return fmt.Errorf("stats: %+v", s)
				}
			}
			return nil
		},
	}
}

func orWrong(err error) error {
	if err == nil {
		err = errors.New("wrong answer")
	}
	return err
}

func TestOnlyOneRebuildAtATime(t *testing.T) {
	log := openLog(t, 2)
	log.Traffic(smallTraffic(5), 3000)
	r := start(t, log, Options{})
	r.caughtUp()
	var second error
	once := sync.Once{}
	_, err := r.Rebuild(testContext(t), RebuildOptions{Progress: func(Progress) {
		once.Do(func() { _, second = r.Rebuild(testContext(t), RebuildOptions{}) })
	}})
	if err != nil || !errors.Is(second, ErrRebuilding) {
		t.Errorf("the first: %v, the second: %v", err, second)
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{}); err != nil {
		t.Errorf("the next: %v", err)
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{Projection: "none such"}); err == nil || !strings.Contains(err.Error(), "readset") {
		t.Errorf("an unknown projection: %v", err)
	}
}

// What asks all the time how much of the log is still needed is refused while a rebuild reads it,
// and keeps none from beginning.
func TestRebuildBesideRetention(t *testing.T) {
	log := openLog(t, 2)
	log.Traffic(smallTraffic(5), 3000)
	r := start(t, log, Options{})
	r.caughtUp()
	over, end := context.WithCancel(testContext(t))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer end()
	var answered, refused atomic.Int64
	asking.Go(func() {
		for over.Err() == nil {
			switch _, err := r.Durable(0); {
			case err == nil:
				answered.Add(1)
			case errors.Is(err, ErrRebuilding):
				refused.Add(1)
			default:
				t.Error(err)
			}
		}
	})
	for range 5 {
		answered.Store(0)
		eventually(t, "the log is asked about", func() bool { return answered.Load() > 0 })
		if _, err := r.Rebuild(testContext(t), RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if refused.Load() == 0 {
		t.Error("what a rebuild reads may go meanwhile")
	}
}

// A rebuild that is cut off, at any phase, leaves nothing behind and the live state alone; so does
// one that a shutdown ends.
func TestCancelledRebuildLeavesNothing(t *testing.T) {
	log := openLog(t, 2)
	log.Traffic(smallTraffic(6), 3000)
	r := start(t, log, Options{})
	r.caughtUp()
	for _, phase := range []string{"replay", "compare", "catch up"} {
		ctx, cancel := context.WithCancel(testContext(t))
		reached := false
		_, err := r.Rebuild(ctx, RebuildOptions{Switch: true, Progress: func(p Progress) {
			if p.Phase == "compare" && !reached {
				// Something to catch up with.
				for k := range r.workers {
					log.PutTo(k, events.Event{Kind: events.StatisticSeen, App: app, User: "nobody", Upto: 1})
				}
				r.caughtUp()
			}
			if p.Phase == phase {
				reached = true
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) || !reached {
			t.Errorf("%s: reached %v, error %v", phase, reached, err)
		}
		if phase == "catch up" {
			onlyGeneration(t, r.Projector, 1, 2) // a partition may have taken over already
		} else {
			onlyGeneration(t, r.Projector, 1)
		}
	}
	if got, want := r.digests(t), straight(t, log); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	asked := make(chan struct{})
	done := make(chan error)
	var left atomic.Bool
	go func() {
		once := sync.Once{}
		_, err := r.Rebuild(context.Background(), RebuildOptions{Switch: true, Progress: func(Progress) {
			once.Do(func() { close(asked) })
			<-r.closing.Done()
			time.Sleep(20 * time.Millisecond) // time for Close to return too early
			left.Store(true)
		}})
		done <- err
	}()
	<-asked
	r.stop()
	if !left.Load() {
		t.Error("Close did not wait for the rebuild")
	}
	if err := <-done; !errors.Is(err, ErrStopped) {
		t.Errorf("a rebuild that a shutdown ended: %v", err)
	}
	if _, err := r.Rebuild(context.Background(), RebuildOptions{}); !errors.Is(err, ErrStopped) {
		t.Errorf("a rebuild after Close: %v", err)
	}
	if _, err := r.Message(app, message(0)); !errors.Is(err, ErrStopped) {
		t.Errorf("a question after Close: %v", err)
	}
	for _, w := range r.workers {
		if there := must[[]int](t)(fold.Generations(nil, w.root)); len(there) != 1 {
			t.Errorf("generations %v are left", there)
		}
	}
}

// plant changes a value of the live state behind its back: the count of a message's readers.
func (r *running) plant(t *testing.T, id string) {
	t.Helper()
	k := events.Partition(&events.Event{App: app, Group: "g"}, len(r.workers))
	g := r.workers[k].gen
	if err := g.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	from := must[*fold.Generation](t)(fold.Open(t.TempDir(), r.foldOptions(k)))
	defer func() { _ = from.Remove() }()
	// A fold of the same entries, all but the last read of the message.
	var batch events.Batch
	reader, err := r.log.Read(testContext(t), k, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for at, _ := g.Part.Position(); reader.Last() < at; {
		e, err := reader.Next(testContext(t))
		if err == nil {
			err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, len(r.workers), &batch)
		}
		if err != nil {
			t.Fatal(err)
		}
		list := make([]events.Event, 0, batch.Len())
		for i := range batch.Len() {
			var x events.Event
			if batch.Event(i, &x); x.Message != id || x.User != "reader2" {
				list = append(list, clone(x))
			}
		}
		batch.SetEvents(list)
		if _, err := from.Part.Apply(projections.Decoded{Sequence: e.Sequence, At: e.Time.UnixMilli(), Batch: &batch}); err != nil {
			t.Fatal(err)
		}
	}
	r.workers[k].mu.Lock()
	defer r.workers[k].mu.Unlock()
	if err := errors.Join(from.Checkpoint(), r.workers[k].adopt(from, "readset")); err != nil {
		t.Fatal(err)
	}
}

// A difference is found and named, and a switch puts it right: of everything, or of the projection
// it is in.
func TestRebuildFindsAndMendsADifference(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(2, burst(0, 20, 3)...)
	want := straight(t, log)
	k := events.Partition(&events.Event{App: app, Group: "g"}, 2)
	for _, c := range []struct {
		projection string
		mends      bool
	}{{"", true}, {allProjections, true}, {"readset", true}, {"rejections", false}} {
		t.Run("projection "+c.projection, func(t *testing.T) {
			o := Options{Dir: t.TempDir()}
			r := start(t, log, o)
			r.caughtUp()
			r.plant(t, message(7))
			if m, err := r.Message(app, message(7)); err != nil || m.Read != 2 {
				t.Fatalf("planted %+v, %v", m, err)
			}
			for _, rebuild := range []RebuildOptions{{}, {Switch: true, Projection: c.projection}} {
				result, err := r.Rebuild(testContext(t), rebuild)
				if err != nil || result.Equal {
					t.Fatalf("%+v: %+v, %v", rebuild, result, err)
				}
				for i, p := range result.Partitions {
					switch {
					case i != k && (p.Live != p.Replayed || p.Difference != nil):
						t.Errorf("partition %d: %+v", i, p)
					case i == k && (p.Replayed != want[k] || p.Live == want[k] || p.Difference == nil):
						t.Errorf("partition %d: %+v, want %s", i, p, want[k])
					case i == k:
						d := p.Difference
						if !strings.Contains(d.Key, message(7)) || !strings.Contains(d.Key, "message") || d.What != "value" || d.Live == d.Replayed {
							t.Errorf("difference %+v", d)
						}
					}
				}
			}
			check := func(r *running) {
				t.Helper()
				if mended := slices.Equal(r.digests(t), want); mended != c.mends {
					t.Errorf("mended: %v", mended)
				}
				if m, err := r.Message(app, message(7)); err != nil || m.Read == 3 != c.mends {
					t.Errorf("%+v, %v", m, err)
				}
			}
			check(r)
			r.stop()
			check(start(t, log, o))
		})
	}
}

// A replay tells nobody what happened before; once it has become the live state, it tells what
// happens.
func TestReplayMakesNoEffects(t *testing.T) {
	log := openLog(t, 2)
	log.Group(4)
	heard := &audience{}
	r := start(t, log, Options{Audience: heard})
	r.caughtUp()
	next := 0
	happen := func() {
		t.Helper()
		log.Put(2, burst(next, 3, 2)...)
		r.caughtUp()
		var list []projections.Effect
		// The outcomes of an entry, which caughtUp waits for, are told before its effects.
		eventually(t, "all effects are told", func() bool {
			list = append(list, heard.take()...)
			return len(list) >= 6
		})
		if len(list) != 6 {
			t.Fatalf("%d effects of 6 receipts: %+v", len(list), list)
		}
		for i, e := range list {
			if e.Message != message(next+i/2) || e.Reader != reader(i%2) || e.Count != i%2+1 {
				t.Errorf("effect %d: %+v", i, e)
			}
		}
		next += 3
	}
	happen()
	for _, o := range []RebuildOptions{{}, {Switch: true}, {Switch: true, Projection: "statistic"}, {Switch: true, Projection: "readset"}} {
		if _, err := r.Rebuild(testContext(t), o); err != nil {
			t.Fatal(err)
		}
		if list := heard.take(); len(list) > 0 {
			t.Errorf("%+v made effects: %+v", o, list)
		}
		happen()
	}
}
