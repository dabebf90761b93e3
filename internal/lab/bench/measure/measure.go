// Package measure holds the measuring instruments of the benchmarks: latencies, processor time,
// memory and disk space.
package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Samples collects durations. Its methods may be called from many goroutines.
type Samples struct {
	mu   sync.Mutex
	list []time.Duration
}

// Add adds one.
func (s *Samples) Add(d time.Duration) {
	s.mu.Lock()
	s.list = append(s.list, d)
	s.mu.Unlock()
}

// Len is how many there are.
func (s *Samples) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// Quantile returns the duration in milliseconds that the fraction q of the samples does not exceed;
// 0 without samples.
func (s *Samples) Quantile(q float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return 0
	}
	slices.Sort(s.list)
	i := min(int(q*float64(len(s.list))), len(s.list)-1)
	return float64(s.list[i].Microseconds()) / 1000
}

// DiskBytes returns the sum of the sizes of all files below a directory.
func DiskBytes(dir string) (float64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a server may be deleting what it does not need
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", filepath.Base(dir), err)
	}
	return float64(n), nil
}

// CPUSeconds returns the processor time of this process up to now.
func CPUSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
