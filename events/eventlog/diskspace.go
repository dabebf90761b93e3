package eventlog

import (
	"fmt"
	"sync"
	"time"
)

// diskSpace watches the free space of a disk, so that a full one is reported before nats-server
// meets it: after that the server would have to be started again.
type diskSpace struct {
	dir     string
	measure func(dir string) (int64, error)
	minFree int64 // bytes that are left free

	mu         sync.Mutex
	measuredAt time.Time
	remaining  int64 // what was measured, less what was reserved since
}

// As long as there is ample space the disk is asked only now and then: asking costs as much as
// encoding an entry, and nobody fills ampleSpace before the next time.
const (
	ampleSpace   = 1 << 30
	measureEvery = 10 * time.Millisecond
)

// reserve refuses to have n more bytes written if less than minFree would be left.
func (s *diskSpace) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remaining-n < s.minFree+ampleSpace || time.Since(s.measuredAt) > measureEvery {
		free, err := s.measure(s.dir)
		if err != nil {
			return nil // what cannot be measured is no reason to stop
		}
		s.remaining, s.measuredAt = free, time.Now()
	}
	if s.remaining-n < s.minFree {
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, %d MiB are kept in reserve",
			ErrLogFull, s.remaining>>20, s.dir, s.minFree>>20)
	}
	s.remaining -= n
	return nil
}

// has reports whether n more bytes than what is kept in reserve are free, without taking them.
func (s *diskSpace) has(n int64) bool {
	free, err := s.measure(s.dir)
	return err != nil || free-n >= s.minFree
}

// ReserveDisk returns [ErrLogFull] if n more bytes would use disk space that the embedded server
// keeps free. The log asks for itself; others who store in the same server have to ask too. It
// knows nothing of an outside server's disk.
func (l *Log) ReserveDisk(n int64) error {
	if l.server == nil {
		return nil
	}
	return l.server.space.reserve(n)
}

// FreeSpace is how many bytes are free for receiptd on the disk of a directory.
func FreeSpace(dir string) (int64, error) { return diskFree(dir) }
