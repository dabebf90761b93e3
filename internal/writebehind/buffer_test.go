package writebehind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// store keeps what was written.
type store struct {
	got    map[string]int
	writes map[string]int
	refuse func(key string) bool
}

var errRefused = errors.New("refused")

func (s *store) write(_ context.Context, changes map[string]int) (err error) {
	for key, value := range changes {
		if s.refuse != nil && s.refuse(key) {
			err = errRefused
			continue
		}
		s.got[key] = value
		s.writes[key]++
		delete(changes, key)
	}
	return err
}

func newStore() *store { return &store{got: map[string]int{}, writes: map[string]int{}} }

func larger(older, newer int) int { return max(older, newer) }

func unexpected(t *testing.T) func(error) {
	return func(err error) { t.Errorf("write: %v", err) }
}

func TestEveryKeyIsWrittenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		buffer := New(s.write, larger)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go buffer.Run(ctx, unexpected(t))
		want := map[string]int{}
		for round := range 100 { // 10 ms each: all in one second
			for i := range 50 {
				key := fmt.Sprint("k", i)
				want[key] = round
				buffer.Put(key, round)
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(every)
		synctest.Wait()
		if !maps.Equal(s.got, want) {
			t.Errorf("stored %v, want %v", s.got, want)
		}
		for key, n := range s.writes {
			if n > 2 {
				t.Errorf("%s was written %d times in two seconds", key, n)
			}
		}
	})
}

func TestKeysAreSpreadOverTheShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lots := 0
		buffer := New(func(_ context.Context, changes map[int]int) error {
			lots++
			if len(changes) > 200 {
				t.Errorf("%d of 1000 keys at one moment", len(changes))
			}
			clear(changes)
			return nil
		}, larger)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for key := range 1000 {
			buffer.Put(key, 1)
		}
		go buffer.Run(ctx, unexpected(t))
		time.Sleep(every + time.Millisecond)
		synctest.Wait()
		if lots != 20 {
			t.Errorf("%d lots, want one in each of 20 shards", lots)
		}
	})
}

func TestHurryDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		buffer := New(s.write, larger)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go buffer.Run(ctx, unexpected(t))
		buffer.Put("a", 1)
		for range 2 * cap(buffer.early) { // more than there is room for: none blocks
			buffer.Hurry("a")
		}
		synctest.Wait()
		if s.got["a"] != 1 {
			t.Error("not written at once")
		}
	})
}

func TestWhatFailsIsWrittenAgainWithWhatCameLater(t *testing.T) {
	s := newStore()
	buffer := New(s.write, larger)
	buffer.Put("bad", 5)
	buffer.Put("good", 6)
	s.refuse = func(key string) bool {
		if key == "bad" {
			buffer.Put("bad", 3) // meanwhile, and less than what is being written
		}
		return key == "bad"
	}
	if err := buffer.Flush(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("Flush: %v", err)
	}
	if !buffer.Waiting("bad") || buffer.Waiting("good") || s.got["good"] != 6 {
		t.Errorf("after a failure: stored %v", s.got)
	}
	s.refuse = nil
	if err := buffer.Flush(t.Context()); err != nil || s.got["bad"] != 5 {
		t.Errorf("stored %v, %v; want the larger value", s.got, err)
	}
	if s.writes["good"] != 1 {
		t.Errorf("what was stored was written %d times", s.writes["good"])
	}
}

func TestRunTellsFailuresAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		var broken atomic.Bool
		broken.Store(true)
		s.refuse = func(string) bool { return broken.Load() }
		buffer := New(s.write, larger)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failures := 0
		go buffer.Run(ctx, func(error) { failures++ })
		buffer.Put("a", 1)
		time.Sleep(2*every + time.Millisecond)
		synctest.Wait()
		if failures != 2 {
			t.Errorf("%d failures in two rounds", failures)
		}
		broken.Store(false)
		time.Sleep(every)
		synctest.Wait()
		if s.got["a"] != 1 {
			t.Error("never stored")
		}
	})
}

func TestFlushKeyWaitsForWhatIsBeingWritten(t *testing.T) {
	s := newStore()
	release, began := make(chan struct{}), make(chan struct{})
	slow := true
	buffer := New(func(ctx context.Context, changes map[string]int) error {
		if slow {
			slow = false
			close(began)
			<-release
		}
		return s.write(ctx, changes)
	}, larger)
	buffer.Put("a", 1)
	flushed := make(chan error, 1)
	go func() { flushed <- buffer.Flush(t.Context()) }()
	<-began
	buffer.Put("a", 2)
	done := make(chan error, 1)
	go func() { done <- buffer.FlushKey(t.Context(), "a") }()
	select {
	case <-done:
		t.Error("it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-done, <-flushed); err != nil || s.got["a"] != 2 {
		t.Errorf("stored %v, %v", s.got, err)
	}
}

func TestFlushKeyWritesOneKey(t *testing.T) {
	s := newStore()
	buffer := New(s.write, larger)
	keys := []string{"a", "b", "c", "d"}
	for _, key := range keys {
		buffer.Put(key, 1)
	}
	if err := buffer.FlushKey(t.Context(), "c"); err != nil || !slices.Equal(slices.Collect(maps.Keys(s.got)), []string{"c"}) {
		t.Errorf("FlushKey stored %v, %v", s.got, err)
	}
	if err := buffer.FlushKey(t.Context(), "c"); err != nil || s.writes["c"] != 1 {
		t.Errorf("nothing waits, but it was written %d times, %v", s.writes["c"], err)
	}
}

// BenchmarkPut is what every acknowledgement of a client costs.
func BenchmarkPut(b *testing.B) {
	buffer := New(func(context.Context, map[string]int) error { return nil }, larger)
	b.ReportAllocs()
	for b.Loop() {
		buffer.Put("a", 1)
	}
}
