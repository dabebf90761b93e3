package gateway

import (
	"hash/maphash"
	"sync"
	"time"
)

// throttleSlots is how many buckets a throttle has. It is a power of two.
const throttleSlots = 1 << 14

// Throttle bounds how often something happens by key: an address, a user, an app. Each key has a
// bucket of tokens that fills at a steady rate. The number of buckets is fixed, so that no number
// of keys makes it grow or has it forget: keys share a bucket if their hashes agree, which nobody
// can bring about without knowing the seed. It may be used from many goroutines.
type Throttle struct {
	perSecond, burst float64
	now              func() time.Time
	seed             maphash.Seed

	mu    sync.Mutex
	slots []throttleSlot
}

// throttleSlot is how many tokens are missing, as of a time.
type throttleSlot struct {
	missing float64
	at      int64 // Unix nanoseconds
}

// NewThrottle makes a Throttle whose buckets hold burst tokens and get so many in a second.
func NewThrottle(perSecond float64, burst int) *Throttle {
	return &Throttle{
		perSecond: perSecond, burst: float64(burst), now: time.Now, seed: maphash.MakeSeed(), slots: make([]throttleSlot, throttleSlots),
	}
}

// By has the throttle go by another clock than the process's.
func (t *Throttle) By(now func() time.Time) *Throttle {
	t.now = now
	return t
}

// Take takes n tokens of a key. If there are fewer it takes none and returns how long to wait for
// them, at least a second; more than the bucket holds are never there.
func (t *Throttle) Take(key string, n int) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slot(key)
	if over := s.missing + float64(n) - t.burst; over > 0 {
		return max(time.Duration(over/t.perSecond*float64(time.Second)), time.Second), false
	}
	s.missing += float64(n)
	return 0, true
}

// Give gives back tokens that were taken for what then did not count.
func (t *Throttle) Give(key string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slot(key)
	s.missing = max(s.missing-float64(n), 0)
}

// slot is the bucket of a key, filled up to now. The lock is held.
func (t *Throttle) slot(key string) *throttleSlot {
	s := &t.slots[maphash.String(t.seed, key)&(throttleSlots-1)]
	now := t.now().UnixNano()
	s.missing = max(s.missing-t.perSecond*float64(max(now-s.at, 0))/float64(time.Second), 0)
	s.at = now
	return s
}
