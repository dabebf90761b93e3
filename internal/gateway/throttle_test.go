package gateway

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottleIsByKeyAndFillsUp(t *testing.T) {
	now := time.Unix(1000, 0)
	x := NewThrottle(2, 10)
	x.now = func() time.Time { return now }
	take := func(key string, n int, want bool) {
		t.Helper()
		if wait, ok := x.Take(key, n); ok != want || ok != (wait == 0) {
			t.Fatalf("%d of %s: %v, wait %s; want %v", n, key, ok, wait, want)
		}
	}
	take("a", 4, true)
	take("a", 7, false) // takes none
	take("a", 6, true)
	take("a", 1, false)
	take("b", 10, true)
	now = now.Add(2 * time.Second)
	take("a", 5, false)
	take("a", 4, true)
	x.Give("a", 3)
	take("a", 3, true)
	take("a", 1, false)
	now = now.Add(time.Hour)
	take("a", 11, false)
	take("a", 10, true)
	if wait, _ := x.Take("a", 10); wait != 5*time.Second {
		t.Errorf("ten tokens at two a second take %s", wait)
	}
}

// However many keys there are, none of them makes another one's tokens come back.
func TestThrottleDoesNotForget(t *testing.T) {
	now := time.Unix(1000, 0)
	x := NewThrottle(0.001, 5)
	x.now = func() time.Time { return now }
	x.Take("guesser", 5)
	for i := range 10 * throttleSlots {
		x.Take(fmt.Sprint("other", i), 1)
	}
	if _, ok := x.Take("guesser", 1); ok {
		t.Error("the tokens came back")
	}
	if len(x.slots) != throttleSlots {
		t.Errorf("%d buckets", len(x.slots))
	}
}
