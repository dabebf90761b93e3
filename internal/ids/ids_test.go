package ids

import (
	"sync"
	"testing"
	"time"
)

func TestIDsGrowAndAreUnique(t *testing.T) {
	s := new(Source)
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			last := uint64(0)
			for range 5000 {
				id := s.Next()
				if id <= last {
					t.Errorf("%d after %d", id, last)
				}
				last = id
				mu.Lock()
				if seen[id] {
					t.Errorf("%d twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

func TestAClockThatGoesBackDoesNotRepeatIDs(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &Source{Now: func() time.Time { return now }}
	a := s.Next()
	now = now.Add(-time.Hour)
	b := s.Next()
	now = now.Add(2 * time.Hour)
	c := s.Next()
	if a >= b || b >= c || c>>63 != 0 || len(text(c)) != 19 {
		t.Error(a, b, c)
	}
}

func text(n uint64) (digits []byte) {
	for ; n > 0; n /= 10 {
		digits = append(digits, byte(n%10))
	}
	return digits
}
