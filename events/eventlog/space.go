package eventlog

import (
	"fmt"
	"sync"
	"time"
)

// space watches the free space of a disk: a full one is reported before nats-server meets it, because that would have to be started
// again afterwards.
type space struct {
	dir     string
	free    func(dir string) (int64, error)
	reserve int64 // bytes that are left free

	mu    sync.Mutex
	asked time.Time // the disk
	left  int64     // of what it said, less what was taken since
}

// Where there is plenty the disk is asked now and then: to ask costs as much as to encode an entry. Nobody writes what is called
// plenty before the next time.
const (
	plentyOfSpace = 1 << 30
	askSpaceEvery = 10 * time.Millisecond
)

// take refuses to write n more bytes when that would leave less than the reserve.
func (s *space) take(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left-n < s.reserve+plentyOfSpace || time.Since(s.asked) > askSpaceEvery {
		free, err := s.free(s.dir)
		if err != nil {
			return nil // what cannot be measured is no reason to stop
		}
		s.left, s.asked = free, time.Now()
	}
	if s.left-n < s.reserve {
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, %d MiB are kept in reserve",
			ErrLogFull, s.left>>20, s.dir, s.reserve>>20)
	}
	s.left -= n
	return nil
}
