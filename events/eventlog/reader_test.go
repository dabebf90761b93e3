package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// fill stores entries of one event each and returns them as read back.
func fill(t *testing.T, ctx context.Context, l *eventlog.Log, n int) []eventlog.Entry {
	t.Helper()
	for i := range n {
		if _, err := l.Append(ctx, receipts(1, i)); err != nil {
			t.Fatal(err)
		}
	}
	return readEntries(t, ctx, l, 0, n)
}

func readEntries(t *testing.T, ctx context.Context, l *eventlog.Log, after uint64, n int) []eventlog.Entry {
	t.Helper()
	r, err := l.Read(ctx, 0, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	entries := make([]eventlog.Entry, n)
	for i := range entries {
		if entries[i], err = r.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if want := after + uint64(i) + 1; entries[i].Sequence != want || r.Last() != want {
			t.Fatalf("entry %d, want %d", entries[i].Sequence, want)
		}
	}
	return entries
}

func TestReadFromAnywhere(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1})
	if first, last, err := l.Bounds(ctx, 0); first != 1 || last != 0 || err != nil {
		t.Errorf("an empty partition has bounds %d, %d, %v", first, last, err)
	}
	begin := time.Now()
	all := fill(t, ctx, l, 20)
	if first, last, err := l.Bounds(ctx, 0); first != 1 || last != 20 || err != nil {
		t.Errorf("bounds %d, %d, %v", first, last, err)
	}
	for i, e := range all {
		if e.Subject != events.BatchSubject(0) || len(e.Data) == 0 || e.Time.Before(begin.Add(-time.Second)) || e.Time.After(time.Now()) {
			t.Errorf("%+v", e)
		}
		same := readEntries(t, ctx, l, uint64(i), 1)[0]
		at, err := l.EntryAt(ctx, 0, e.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		if eventlog.Fingerprint(e) != eventlog.Fingerprint(same) || eventlog.Fingerprint(e) != eventlog.Fingerprint(at) {
			t.Errorf("entry %d has several fingerprints", e.Sequence)
		}
		if i > 0 && eventlog.Fingerprint(e) == eventlog.Fingerprint(all[i-1]) {
			t.Errorf("entries %d and %d have the same fingerprint", i, i+1)
		}
	}
	for _, sequence := range []uint64{0, 21, 1 << 40} {
		if _, err := l.EntryAt(ctx, 0, sequence); !errors.Is(err, eventlog.ErrNoEntry) {
			t.Errorf("entry %d: %v", sequence, err)
		}
	}
	for _, partition := range []int{-1, 1} {
		if _, err := l.Read(ctx, partition, 0); err == nil {
			t.Errorf("partition %d of 1 can be read", partition)
		}
	}
}

func TestFingerprintCoversSequenceTimeAndData(t *testing.T) {
	e := eventlog.Entry{Sequence: 7, Time: time.Unix(1, 2), Data: []byte("data")}
	for name, change := range map[string]func(*eventlog.Entry){
		"sequence": func(e *eventlog.Entry) { e.Sequence++ },
		"time":     func(e *eventlog.Entry) { e.Time = e.Time.Add(1) },
		"data":     func(e *eventlog.Entry) { e.Data = []byte("dat4") },
	} {
		other := e
		change(&other)
		if eventlog.Fingerprint(e) == eventlog.Fingerprint(other) {
			t.Errorf("the fingerprint is the same with another %s", name)
		}
	}
	// Checkpoints keep it.
	if got, want := eventlog.Fingerprint(e), uint64(fingerprintOfExample); got != want {
		t.Errorf("the fingerprint changed: %#x, was %#x", got, want)
	}
}

const fingerprintOfExample = 0x28f2516da89a15ba

func TestReaderFollowsTheLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1})
	r, err := l.Read(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, ok := r.TryNext(); ok {
		t.Error("TryNext found an entry in an empty log")
	}
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next says %v", err)
	}
	for n := range 5 {
		if _, err := l.Append(ctx, receipts(1, n)); err != nil {
			t.Fatal(err)
		}
		if e, err := r.Next(ctx); err != nil || e.Sequence != uint64(n+1) {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	for n := range 5 {
		if _, err := l.Append(ctx, receipts(1, n)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the entries are here", func() bool { return r.Buffered() == 5 })
	for n := range 5 {
		if e, ok := r.TryNext(); !ok || e.Sequence != uint64(n+6) {
			t.Fatalf("%+v, %v", e, ok)
		}
	}
	r.Close()
	if _, err := r.Next(ctx); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("a closed reader says %v", err)
	}
}

// A reader that is interrupted in every way still returns every entry once: in the middle of each
// round something breaks, while entries go on coming. A round has as many entries as the disk takes
// in its time, but enough for both halves.
func TestReaderSurvivesFaults(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	const rounds, halfMin, halfMax, halfTime = 6, 15, 75, 2 * time.Second
	r, err := o.log.Read(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	writer := o.openOther(t)
	var enough atomic.Bool
	defer enough.Store(true)
	appended := make(chan int, 1)
	go func() {
		n := 0
		defer func() { appended <- n }()
		for ; !enough.Load(); n++ {
			if _, err := writer.Append(ctx, receipts(1, n)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	read := 0
	next := func() {
		read++
		if e, err := r.Next(ctx); err != nil || e.Sequence != uint64(read) {
			t.Fatalf("entry %d: %+v, %v", read, e, err)
		}
	}
	half := func() {
		end := time.Now().Add(halfTime)
		for n := 0; n < halfMin || n < halfMax && time.Now().Before(end); n++ {
			next()
		}
	}
	for round := range rounds {
		half()
		switch round {
		case 0, 3:
			o.proxy.Cut()
		case 1, 4:
			o.proxy.Hold()
			time.Sleep(20 * time.Millisecond) // what the server sends meanwhile is lost
			o.proxy.Cut()
		case 2:
			o.server.Stop()
			o.server.Start()
		case 5:
			deleteConsumers(t, ctx, o.js)
		}
		half()
	}
	enough.Store(true)
	for all := <-appended; read < all; {
		next()
	}
	t.Logf("%d entries", read)
}

func deleteConsumers(t *testing.T, ctx context.Context, js jetstream.JetStream) {
	t.Helper()
	s, err := js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	for name := range s.ConsumerNames(ctx).Name() {
		if err := s.DeleteConsumer(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
}

// purge removes entries as an operator might.
func purge(t *testing.T, ctx context.Context, js jetstream.JetStream, opts ...jetstream.StreamPurgeOpt) {
	t.Helper()
	s, err := js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(ctx, opts...); err != nil {
		t.Fatal(err)
	}
}

func TestTrimmedEntriesAreNamed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	fill(t, ctx, o.log, 10)
	r, err := o.log.Read(ctx, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(ctx); err != nil { // 3
		t.Fatal(err)
	}
	purge(t, ctx, o.js, jetstream.WithPurgeSequence(8)) // keeps 8 and later

	var trimmed *eventlog.TrimmedError
	_, err = o.log.Read(ctx, 0, 3)
	if !errors.As(err, &trimmed) || *trimmed != (eventlog.TrimmedError{After: 3, First: 8}) || !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("Read says %v", err)
	}
	readEntries(t, ctx, o.log, 7, 3)

	// The open reader has the rest buffered; one that must ask again learns it.
	o.proxy.Cut()
	for err = nil; err == nil; {
		_, err = r.Next(ctx)
		if r.Last() == 10 {
			return // it was buffered, and is complete
		}
	}
	if !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("the reader says %v", err)
	}
}

func TestAllTrimmed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	fill(t, ctx, o.log, 10)
	purge(t, ctx, o.js)
	if first, last, err := o.log.Bounds(ctx, 0); first != 11 || last != 10 || err != nil {
		t.Errorf("bounds %d, %d, %v", first, last, err)
	}
	if _, err := o.log.Read(ctx, 0, 9); !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("Read says %v", err)
	}
	if _, err := o.log.Append(ctx, receipts(1, 0)); err != nil {
		t.Fatal(err)
	}
	readEntries(t, ctx, o.log, 10, 1)
}

func TestGapIsNamed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	fill(t, ctx, o.log, 3)
	const subject = "receipts.v1.0.message-read.acme.chat"
	for range 2 {
		if _, err := o.js.Publish(ctx, subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 2 {
		if _, err := o.log.Append(ctx, receipts(1, n)); err != nil {
			t.Fatal(err)
		}
	}
	purge(t, ctx, o.js, jetstream.WithPurgeSubject(subject)) // 4 and 5, out of 1 to 7
	r, err := o.log.Read(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if _, err := r.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the error stays
		var gap *eventlog.GapError
		_, err := r.Next(ctx)
		if !errors.As(err, &gap) || *gap != (eventlog.GapError{Want: 4, Have: 6}) || !errors.Is(err, eventlog.ErrGap) {
			t.Errorf("the reader says %v", err)
		}
		if _, ok := r.TryNext(); ok {
			t.Error("TryNext goes on after the gap")
		}
	}
	readEntries(t, ctx, o.log, 5, 2)
}

func TestPositionBeyondTheEnd(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1})
	fill(t, ctx, l, 3)
	var ahead *eventlog.AheadError
	_, err := l.Read(ctx, 0, 4)
	if !errors.As(err, &ahead) || *ahead != (eventlog.AheadError{After: 4, Last: 3}) || !errors.Is(err, eventlog.ErrAhead) {
		t.Errorf("Read says %v", err)
	}
}

// The log comes back without its tail while a reader is open, and grows again: shorter than before,
// just as long, and longer.
func TestReaderNoticesAnotherLog(t *testing.T) {
	for _, grown := range []int{1, 5, 8} {
		t.Run(fmt.Sprint(grown), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
			fill(t, ctx, o.openOther(t), 5)
			r, err := o.log.Read(ctx, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for range 5 {
				if _, err := r.Next(ctx); err != nil {
					t.Fatal(err)
				}
			}
			o.empty(t, ctx)
			for range grown {
				if _, err := o.js.Publish(ctx, events.BatchSubject(0), []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			if e, err := r.Next(ctx); !errors.Is(err, eventlog.ErrAhead) {
				t.Errorf("the reader says %+v, %v", e, err)
			}
		})
	}
}
