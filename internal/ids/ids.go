// Package ids makes the ids of receipts, groups and messages that their senders did not number:
// numbers that are unique and grow with time.
package ids

import (
	"math/rand/v2"
	"sync"
	"time"
)

// epoch is the time of id 0: Unix milliseconds of 2020-01-01.
const epoch = 1_577_836_800_000

// chanceBits are the low bits of an id. They are random in the first id of a millisecond, so that
// two processes, or one whose clock was set back between two starts, do not make the same ids; the
// next ones count up from it.
const chanceBits = 22

// Source makes ids of at most 63 bits, which are 19 decimal digits from 2024 on. The zero value is
// ready for use, by many goroutines at once.
type Source struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu   sync.Mutex
	last uint64
}

// Next returns an id that is larger than all before it.
func (s *Source) Next() uint64 {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	id := uint64(now().UnixMilli()-epoch)<<chanceBits | rand.Uint64N(1<<chanceBits)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last>>chanceBits >= id>>chanceBits {
		id = s.last + 1
	}
	s.last = id
	return id
}
