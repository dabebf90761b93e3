package consumers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

// fakeLog is a log whose readers can be had, refused and broken at will.
type fakeLog struct {
	*eventlog.Log
	// read is asked before each reader; an error is what the caller gets instead.
	read   func(after uint64) error
	reader *eventlog.Reader // the last one
}

func (l *fakeLog) Partitions() int {
	if l.Log == nil {
		return 1
	}
	return l.Log.Partitions()
}

func (l *fakeLog) Read(ctx context.Context, partition int, after uint64) (r *eventlog.Reader, err error) {
	if l.read != nil {
		if err := l.read(after); err != nil {
			return nil, err
		}
	}
	l.reader, err = l.Log.Read(ctx, partition, after)
	return l.reader, err
}

// newLog has entries of one event each.
func newLog(t *testing.T, entries int) *fakeLog {
	t.Helper()
	l := &fakeLog{Log: natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1, Fsync: eventlog.FsyncInterval})}
	for i := range entries {
		l.append(t, i)
	}
	return l
}

func (l *fakeLog) append(t *testing.T, i int) {
	t.Helper()
	e := events.Event{Kind: events.MessageSent, App: "o#a", Peer: "bob", User: "alice", Message: fmt.Sprint("m", i), Receipt: true}
	if _, err := l.Append(testContext(t), []events.Event{e}); err != nil {
		t.Fatal(err)
	}
}

// testContext bounds a test that waits for something that never comes.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func sequences(first, last uint64) (list []uint64) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// Whenever a reader breaks, another one goes on after the last entry that was handled: each is
// handled once, in order, up to the last one that is wanted and no further.
func TestEveryEntryIsHandledOnceWhateverBreaks(t *testing.T) {
	log := newLog(t, 30)
	refused := 0
	log.read = func(uint64) error {
		if refused++; refused%2 == 1 {
			return errors.New("no answer")
		}
		return nil
	}
	var got []uint64
	o := Options{After: 3, Upto: 25, Logger: natstest.Logger(t)}
	err := Follow(testContext(t), log, o, HandlerFunc(func(_ context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
		var e events.Event
		x.Batch.Event(0, &e)
		if x.Sequence != stored.Sequence || x.Fingerprint != eventlog.Fingerprint(*stored) || x.Poison != "" ||
			e.Message != fmt.Sprint("m", x.Sequence-1) {
			t.Errorf("entry %d is %+v, %+v", stored.Sequence, x, e)
		}
		if got = append(got, x.Sequence); len(got)%10 == 0 {
			log.reader.Close() // the next entry cannot be had
		}
		return nil
	}))
	if err != nil || !slices.Equal(got, sequences(4, 25)) {
		t.Errorf("handled %v, %v", got, err)
	}
	if refused != 6 {
		t.Errorf("%d attempts to read, want 6: three readers, and before each a refusal", refused)
	}
}

// What no other reader mends is returned at once, and so is what the handler returns, whatever it
// is.
func TestFinalErrorsAreNotTriedAgain(t *testing.T) {
	own := fmt.Errorf("of the handler: %w", errors.New("no answer"))
	log := newLog(t, 1)
	for _, c := range []struct {
		name       string
		read, want error
		handle     error
	}{
		{name: "trimmed", read: &eventlog.TrimmedError{After: 1, First: 5}, want: eventlog.ErrTrimmed},
		{name: "ahead", read: &eventlog.AheadError{}, want: eventlog.ErrAhead},
		{name: "gap", read: &eventlog.GapError{Want: 2, Have: 4}, want: eventlog.ErrGap},
		{name: "handler", handle: own, want: own},
	} {
		reads, handled := 0, 0
		log.read = func(uint64) error { reads++; return c.read }
		err := Follow(testContext(t), log, Options{}, HandlerFunc(func(context.Context, *projections.Decoded, *eventlog.Entry) error {
			handled++
			return c.handle
		}))
		if !errors.Is(err, c.want) || reads != 1 || c.handle != nil && (err != own || handled != 1) {
			t.Errorf("%s: %v after %d reads, %d entries", c.name, err, reads, handled)
		}
	}
}

// The pause grows to a bound, and the context ends it.
func TestPauseGrowsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		last := time.Now()
		log := &fakeLog{read: func(uint64) error {
			pauses = append(pauses, time.Since(last))
			last = time.Now()
			return errors.New("no answer")
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Follow(ctx, log, Options{Logger: natstest.Logger(t)}, HandlerFunc(nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		// The pauses are spread by half around their mean.
		longest := slices.Max(pauses)
		if pauses[1] > time.Second || longest < retryMax/2 || longest > retryMax*3/2 || len(pauses) < 10 {
			t.Errorf("pauses %v", pauses)
		}
	})
}

// tiredLoop is one that has failed for long.
func tiredLoop(t *testing.T, h Handler) *loop {
	t.Helper()
	l := newLoop(&fakeLog{}, Options{Logger: natstest.Logger(t)}, h)
	for range 20 {
		l.retry.NextBackOff()
	}
	l.retrying = true
	return l
}

// Not a reader that could be opened, but an entry that was read makes the pauses short again.
func TestAnEntryMakesPausesShortAgain(t *testing.T) {
	l := tiredLoop(t, HandlerFunc(func(context.Context, *projections.Decoded, *eventlog.Entry) error { return nil }))
	if pause := l.retry.NextBackOff(); pause < retryMax/2 {
		t.Fatalf("the pause is %s", pause)
	}
	l.stored = eventlog.Entry{Sequence: 1, Subject: events.BatchSubject(0), Data: []byte("not a batch")}
	if err := l.handle(t.Context()); err != nil || l.retrying || l.after != 1 {
		t.Fatalf("%v, retrying %v, after %d", err, l.retrying, l.after)
	}
	if pause := l.retry.NextBackOff(); pause > time.Second {
		t.Errorf("the pause is %s", pause)
	}
}

// What cannot be decoded is handed over with the reason; what a newer version wrote ends the loop
// before it reaches the handler.
func TestPoisonIsHandledAndANewerVersionIsNot(t *testing.T) {
	var poison []string
	l := tiredLoop(t, HandlerFunc(func(_ context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
		poison = append(poison, x.Poison+" "+string(stored.Data))
		return nil
	}))
	l.stored = eventlog.Entry{Sequence: 1, Subject: events.BatchSubject(0), Data: []byte("not a batch")}
	if err := l.handle(t.Context()); err != nil || len(poison) != 1 || len(poison[0]) <= len(" not a batch") {
		t.Errorf("%v, handled %q", err, poison)
	}
	// Field 1 of an entry is its version: 127 is one that nobody has written yet.
	l.stored = eventlog.Entry{Sequence: 2, Subject: events.BatchSubject(0), Data: []byte{0x08, 0x7f}}
	if err := l.handle(t.Context()); !errors.Is(err, events.ErrVersion) || len(poison) != 1 || l.after != 1 {
		t.Errorf("%v, handled %q, after %d", err, poison, l.after)
	}
}

// An entry costs the loop no allocation beyond those of decoding it.
func TestAnEntryCostsNoAllocation(t *testing.T) {
	var b events.Builder
	for i := range 100 {
		b.Add(&events.Event{Kind: events.MessageRead, App: "o#a", Peer: "alice", User: "bob", Message: fmt.Sprint("m", i)})
	}
	l := tiredLoop(t, HandlerFunc(func(context.Context, *projections.Decoded, *eventlog.Entry) error { return nil }))
	l.stored = eventlog.Entry{Sequence: 1, Subject: events.BatchSubject(0), Data: b.Encode(nil)}
	handling := testing.AllocsPerRun(100, func() {
		if err := l.handle(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	decoding := testing.AllocsPerRun(100, func() {
		if err := events.DecodeEntry(l.stored.Subject, l.stored.Data, l.stored.MsgID, 1, &l.batch); err != nil {
			t.Fatal(err)
		}
	})
	if handling > decoding {
		t.Errorf("%v allocations, %v of them for decoding", handling, decoding)
	}
}

// timed wants to be called some milliseconds after each entry.
type timed struct {
	handled  []uint64
	deadline time.Time
	expired  chan uint64 // how many entries there were
}

func (h *timed) Handle(_ context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
	h.handled = append(h.handled, x.Sequence)
	h.deadline = time.Now().Add(5 * time.Millisecond)
	return nil
}

func (h *timed) Deadline() (time.Time, bool) { return h.deadline, !h.deadline.IsZero() }

func (h *timed) Expire(ctx context.Context) error {
	if time.Now().Before(h.deadline) {
		return errors.New("called too early")
	}
	h.deadline = time.Time{}
	select {
	case h.expired <- uint64(len(h.handled)):
	case <-ctx.Done():
	}
	return nil
}

// A handler's deadline is kept whether entries come or not, and costs no entry.
func TestDeadlinesAreKeptBetweenEntries(t *testing.T) {
	log := newLog(t, 3)
	h := &timed{expired: make(chan uint64)}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error)
	go func() { done <- Follow(ctx, log, Options{Logger: natstest.Logger(t)}, h) }()
	for n := uint64(0); n < 3; {
		n = <-h.expired
	}
	for i := range uint64(3) {
		log.append(t, 3+int(i))
		if n := <-h.expired; n != 4+i {
			t.Errorf("called with %d entries, want %d", n, 4+i)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !slices.Equal(h.handled, sequences(1, 6)) {
		t.Errorf("handled %v, %v", h.handled, err)
	}
}

// Whoever does not want any more gets no more, however many entries are at hand: a replay of hours
// ends with the process.
func TestFollowEndsWithItsContext(t *testing.T) {
	log := newLog(t, 30)
	ctx, cancel := context.WithCancel(testContext(t))
	var got []uint64
	err := Follow(ctx, log, Options{Logger: natstest.Logger(t)}, HandlerFunc(func(_ context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
		if got = append(got, x.Sequence); len(got) == 3 {
			time.Sleep(100 * time.Millisecond) // for the others to arrive
			cancel()
		}
		return nil
	}))
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, sequences(1, 3)) {
		t.Errorf("handled %v, %v", got, err)
	}
}

// asBefore is a log as a process has it open that does not know of a repartition since.
type asBefore struct{ *eventlog.Log }

func (asBefore) Partitions() int { return 1 }

// Nobody goes past the entry from which on the log has more partitions than it was opened with: a
// fold would let go of the half that is another partition's from there on, which nobody here has.
func TestAForkThatTheOpenLogDoesNotKnowIsNotPassed(t *testing.T) {
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: filepath.Join(t.TempDir(), "log"), Partitions: 1}
	l := &fakeLog{Log: natstest.OpenLog(t, cfg)}
	for i := range 5 {
		l.append(t, i)
	}
	natstest.CloseLog(t, l.Log)
	r, err := eventlog.Repartition(ctx, cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	log := natstest.OpenLog(t, cfg)
	fork := r.ForkPoints[0]
	for _, x := range []struct {
		log  Log
		last uint64
		want error
	}{{log, fork, nil}, {asBefore{log}, fork - 1, eventlog.ErrFenced}} {
		last := uint64(0)
		err := Follow(ctx, x.log, Options{Upto: fork, Logger: natstest.Logger(t)}, HandlerFunc(func(_ context.Context, d *projections.Decoded, _ *eventlog.Entry) error {
			last = d.Sequence
			return nil
		}))
		if last != x.last || !errors.Is(err, x.want) {
			t.Errorf("of %d partitions: up to entry %d, want %d: %v", x.log.Partitions(), last, x.last, err)
		}
	}
}
