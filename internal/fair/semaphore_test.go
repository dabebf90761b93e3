package fair

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// served has a semaphore of one that is in use, lets the keys wait for it in their order, and
// returns in which order they were served, one at a time.
func served(t *testing.T, weight func(string) int, n func(Key) int64, keys ...Key) (order []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 100, Weight: weight})
		all, err := s.Acquire(t.Context(), Key{App: "first"}, 100)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		for _, key := range keys {
			go func() {
				taken, err := s.Acquire(t.Context(), key, n(key))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, key.App+key.User)
				mu.Unlock()
				time.Sleep(time.Second)
				s.Release(taken)
			}()
			synctest.Wait()
		}
		s.Release(all)
		time.Sleep(time.Hour)
		if s.Waiting() != 0 || s.Taken() != 0 || len(s.tenants) != 0 || len(s.order) != 0 {
			t.Errorf("%d wait, %d is taken, %d tenants are remembered", s.Waiting(), s.Taken(), len(s.tenants))
		}
	})
	return order
}

func everything(Key) int64 { return 100 }

func repeat(n int, keys ...Key) (all []Key) {
	for range n {
		all = append(all, keys...)
	}
	return all
}

// Whoever asks for little is served next, however many of another tenant came before.
func TestQuietTenantIsServedNext(t *testing.T) {
	order := served(t, nil, everything, append(repeat(50, Key{App: "flood"}), Key{App: "quiet"})...)
	if at := slices.Index(order, "quiet"); at < 0 || at > 1 {
		t.Errorf("place %d of %d", at, len(order))
	}
}

func TestTenantsAreServedByWeight(t *testing.T) {
	weight := func(app string) int {
		if app == "b" {
			return 3
		}
		return 1
	}
	order := served(t, weight, everything, append(repeat(30, Key{App: "a"}), repeat(30, Key{App: "b"})...)...)
	b := 0
	for _, app := range order[:20] {
		if app == "b" {
			b++
		}
	}
	if b < 14 || b > 16 {
		t.Errorf("the tenant of weight 3 had %d of the first 20 turns", b)
	}
}

// A tenant that never waits for long, because one of its two clients comes again whenever the other
// one is served, has its share and no more.
func TestWhoComesAgainHasTheirShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 100})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		turns := map[string]int{}
		var clients sync.WaitGroup
		client := func(app string) {
			clients.Go(func() {
				for ctx.Err() == nil {
					taken, err := s.Acquire(ctx, Key{App: app}, 100)
					if err != nil {
						return
					}
					turns[app]++ // by one at a time, as all of it was taken
					time.Sleep(time.Second)
					s.Release(taken)
				}
			})
			synctest.Wait()
		}
		client("alternating")
		client("alternating")
		for range 10 {
			client("waiting")
		}
		clients.Wait()
		if n := turns["waiting"]; n < 45 || n > 55 {
			t.Errorf("those who wait had %d of %d turns", n, n+turns["alternating"])
		}
		if len(s.tenants) != 0 || len(s.order) != 0 {
			t.Errorf("%d tenants are remembered when nobody waits", len(s.tenants))
		}
	})
}

// A tenant that takes more at a time has fewer turns.
func TestTurnsAreByWhatIsTaken(t *testing.T) {
	amount := func(k Key) int64 {
		if k.App == "large" {
			return 100
		}
		return 60 // two do not fit together
	}
	order := served(t, nil, amount, append(repeat(30, Key{App: "large"}), repeat(30, Key{App: "small"})...)...)
	small := 0
	for _, app := range order[:24] {
		if app == "small" {
			small++
		}
	}
	if small < 14 || small > 16 { // of 24, 100 to 60
		t.Errorf("small ones had %d of the first 24 turns", small)
	}
}

func TestUsersOfATenantTakeTurns(t *testing.T) {
	keys := append(repeat(20, Key{"app", "loud"}), Key{"app", "quiet"})
	order := served(t, nil, everything, keys...)
	if at := slices.Index(order, "appquiet"); at < 0 || at > 2 {
		t.Errorf("place %d of %d", at, len(order))
	}
}

// One that waits for much is not overtaken for ever by others for which there would be enough.
func TestMuchIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 100})
		a, _ := s.Acquire(t.Context(), Key{App: "a"}, 60)
		done := make(chan int64, 1)
		go func() {
			taken, _ := s.Acquire(t.Context(), Key{App: "large"}, 1000)
			done <- taken
		}()
		synctest.Wait()
		go func() {
			taken, _ := s.Acquire(t.Context(), Key{App: "small"}, 10)
			s.Release(taken)
		}()
		synctest.Wait()
		if s.Waiting() != 2 {
			t.Errorf("%d wait", s.Waiting())
		}
		s.Release(a)
		if taken := <-done; taken != 100 {
			t.Errorf("took %d of 100", taken)
		}
		s.Release(100)
		synctest.Wait()
	})
}

// What there is may become less than what is in use, or than somebody waits for, and more again.
func TestThereMayBeMoreOrLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 100})
		a, _ := s.Acquire(t.Context(), Key{App: "a"}, 80)
		var order []int64
		for _, n := range []int64{70, 30} {
			go func() {
				taken, _ := s.Acquire(t.Context(), Key{App: "b"}, n)
				order = append(order, taken)
				time.Sleep(time.Second)
				s.Release(taken)
			}()
			synctest.Wait()
		}
		s.Resize(40)
		if _, ok := s.TryAcquire(1); ok {
			t.Error("there was something left of less than what is in use")
		}
		s.Release(a)
		synctest.Wait()
		if len(order) != 1 || order[0] != 70 {
			t.Errorf("served %v; one waits for more than there is", order)
		}
		s.Resize(200)
		synctest.Wait()
		if len(order) != 2 {
			t.Errorf("served %v; there is more now", order)
		}
		time.Sleep(time.Minute)
		if s.Taken() != 0 {
			t.Errorf("%d taken", s.Taken())
		}
	})
}

// Whoever has to wait is told so once, before they do, and nobody else is: neither those served at
// once nor those who may not wait.
func TestWhoWaitsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 10, MaxWaiting: 1})
		told := 0
		acquire := func(n int64) (int64, error) {
			return s.AcquireFunc(t.Context(), Key{App: "a"}, n, func() { told++ })
		}
		if taken, err := acquire(100); taken != 10 || err != nil || told != 0 {
			t.Fatalf("took %d, %v, told %d times that it waits", taken, err, told)
		}
		served := make(chan error)
		go func() {
			_, err := acquire(4)
			served <- err
		}()
		synctest.Wait()
		if told != 1 || s.Waiting() != 1 {
			t.Errorf("told %d times, %d wait", told, s.Waiting())
		}
		if _, err := acquire(1); !errors.Is(err, ErrCrowded) || told != 1 {
			t.Errorf("a second may not wait: %v, told %d times", err, told)
		}
		s.Release(10)
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := acquire(6); err != nil || told != 1 {
			t.Errorf("%v, told %d times in all", err, told)
		}
	})
}

func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Capacity: 1, MaxWaiting: 2})
		taken, _ := s.Acquire(t.Context(), Key{App: "a"}, 1)
		reason := errors.New("late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := s.Acquire(ctx, Key{App: "b"}, 1); !errors.Is(err, reason) {
					t.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		if _, err := s.Acquire(ctx, Key{App: "c"}, 1); !errors.Is(err, ErrCrowded) {
			t.Errorf("a third waits: %v", err)
		}
		wg.Wait()
		s.Release(taken)
		if s.Taken() != 0 || s.Waiting() != 0 || len(s.tenants) != 0 {
			t.Errorf("%d taken, %d wait", s.Taken(), s.Waiting())
		}
		if _, err := s.Acquire(t.Context(), Key{App: "c"}, 1); err != nil {
			t.Error(err)
		}
	})
}

// What is taken never exceeds what there is, and all of it comes back, however waits end.
func TestNothingIsLostNorDoubled(t *testing.T) {
	s := New(Options{Capacity: 10})
	var inUse, most int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == 0 {
					time.AfterFunc(time.Duration(n)*time.Microsecond, cancel)
				}
				taken, err := s.Acquire(ctx, Key{App: string(rune('a' + i%5)), User: string(rune('a' + n%3))}, int64(1+n%12))
				if err == nil {
					mu.Lock()
					inUse += taken
					most = max(most, inUse)
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					inUse -= taken
					mu.Unlock()
					s.Release(taken)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if most > 10 || s.Taken() != 0 || s.Waiting() != 0 || len(s.tenants) != 0 {
		t.Errorf("at most %d of 10, %d left, %d wait, %d tenants", most, s.Taken(), s.Waiting(), len(s.tenants))
	}
}

func BenchmarkAcquire(b *testing.B) {
	s := New(Options{Capacity: 100})
	b.ReportAllocs()
	for b.Loop() {
		taken, _ := s.Acquire(b.Context(), Key{App: "acme#chat"}, 1)
		s.Release(taken)
	}
}
