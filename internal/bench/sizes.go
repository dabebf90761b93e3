package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sizes closes everything, so that what is on the disk is all there is, and measures it. The state is compacted
// first: it is what stays of the receipts, not what is being rewritten.
func (r *run) sizes(ctx context.Context) error {
	if err := r.core.Projector.Compact(ctx); err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	t := r.totals()
	log, err := diskBytes(filepath.Join(r.o.Config.Data, "log"))
	if err != nil {
		return err
	}
	state, err := diskBytes(filepath.Join(r.o.Config.Data, "state"))
	if err != nil {
		return err
	}
	r.result.LogBytes = log / float64(t.Receipts)
	r.result.StateBytes = state / float64(t.Distinct)
	return nil
}

func diskBytes(dir string) (float64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
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

// cpuSeconds is the processor time of this process so far.
func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// peakRSS is the largest resident memory of this process so far, in MiB.
func peakRSS() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kib float64
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return kib / 1024
			}
		}
	}
	return 0
}
