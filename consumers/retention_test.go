package consumers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// TestEntriesLeaveOnlyWhenEverybodyHasThem: whatever age and size want, what is not safe stays.
func TestEntriesLeaveOnlyWhenEverybodyHasThem(t *testing.T) {
	ctx := testContext(t)
	log := openLog(t, 1)
	log.group(3)
	log.append(1, burst(0, 20, 3)...)
	first := func() uint64 {
		t.Helper()
		first, _, err := log.Bounds(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	last := log.last(0)
	_, size, err := log.Size(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	safe, failed := uint64(10), error(nil)
	r := Retention{
		Log: log, Logger: natstest.Logger(t),
		Safe: func(context.Context, int) (uint64, error) { return safe, failed },
	}
	later := func() time.Time { return time.Now().Add(time.Hour) }
	for _, step := range []struct {
		name   string
		change func()
		want   uint64
	}{
		{"no limit", func() {}, 1},
		{"nothing is old", func() { r.Age = time.Hour / 2 }, 1},
		{"everything is old, the archive has less", func() { r.Now = later }, 10},
		{"nobody says what is safe", func() { safe, failed = last, errors.New("no answer") }, 10},
		{"a rebuild reads the log", func() { failed = ErrRebuilding }, 10},
		{"it is not too large", func() { r.Age, r.Bytes, failed = 0, int64(size), nil }, 10},
		{"half of it is too much", func() { r.Bytes = int64(size) / 2 }, 0},
		{"the last safe entry stays", func() { r.Age = time.Minute }, last},
	} {
		step.change()
		if err := r.Trim(ctx, 0); err != nil && !errors.Is(err, failed) {
			t.Fatalf("%s: %v", step.name, err)
		}
		got := first()
		if step.want == 0 && (got < last/3 || got > last*2/3) || step.want != 0 && got != step.want {
			t.Errorf("%s: the log begins with %d of %d, want %d", step.name, got, last, step.want)
		}
	}
}

// TestTrimmedLogKeepsWorking: behind what ClickHouse and all folds have, entries leave; everything goes on, also after a
// restart, and is the same when it is folded again from the archive.
func TestTrimmedLogKeepsWorking(t *testing.T) {
	ctx := testContext(t)
	s := newSinkTest(t, 2)
	s.log.traffic(smallTraffic(29), 5000)
	dir := t.TempDir()
	p := start(t, s.log, Options{Dir: dir})
	f := s.fill(s.store)
	s.filled(f)
	p.caughtUp()
	r := Retention{Log: s.log, Bytes: 1, Logger: natstest.Logger(t), Safe: func(_ context.Context, k int) (uint64, error) {
		folded, err := p.Durable(k)
		return min(folded, f.Safe(k)), err
	}}
	eventually(t, "old entries have left", func() bool {
		left := true
		for k := range 2 {
			if err := r.Trim(ctx, k); err != nil {
				t.Fatal(err)
			}
			first, last, err := s.log.Bounds(ctx, k)
			left = left && err == nil && first == last
		}
		return left
	})
	s.log.traffic(smallTraffic(30), 2000)
	p.crash()
	s.stop(f)
	p = start(t, s.log, Options{Dir: dir})
	f = s.fill(s.store)
	s.filled(f)
	p.caughtUp()
	if result, err := p.Rebuild(ctx, RebuildOptions{Archive: s.store}); err != nil || !result.Equal {
		t.Errorf("%+v, %v", result, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}
