package dst

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// tally is what came of many seeds.
type tally struct {
	Report
	// Ran is how many they were.
	Ran int
}

func (x *tally) add(r Report) {
	x.Lives, x.Steps, x.Durable = x.Lives+r.Lives, x.Steps+r.Steps, x.Durable+r.Durable
	for kind, count := range r.Kinds {
		x.Kinds[kind] += count
	}
}

// keep writes it where the process that began this one reads it.
func (x *tally) keep(path string) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// share is how many seeds a process runs before it makes room for another one.
const share = 500

// spread runs seeds in several processes, since one uses one processor: until all are through, or
// the time is over. They are taken in order, so that those that ran are the first ones.
func spread(t *testing.T, first uint64, n, processes int, most time.Duration) *tally {
	total := &tally{Report: Report{Kinds: map[string]int{}}}
	began, dir := time.Now(), t.TempDir()
	var mu sync.Mutex
	taken := 0
	take := func() (from, many int) {
		mu.Lock()
		defer mu.Unlock()
		if most != 0 && time.Since(began) > most {
			return 0, 0
		}
		from, many = taken, min(share, n-taken)
		taken += many
		return from, many
	}
	var running sync.WaitGroup
	for range processes {
		running.Go(func() {
			for from, many := take(); many > 0; from, many = take() {
				x, err := inProcess(t.Context(), first+uint64(from), many, filepath.Join(dir, fmt.Sprint(from)))
				if err != nil {
					t.Errorf("seeds from %d on: %v", first+uint64(from), err)
				}
				mu.Lock()
				total.add(x.Report)
				total.Ran += x.Ran
				fmt.Fprintf(os.Stderr, "%d seeds, %.0f a minute\n", total.Ran, float64(total.Ran)/time.Since(began).Minutes())
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return total
}

// inProcess runs seeds in a process of their own. If one of them fails, the error has what it said.
func inProcess(ctx context.Context, first uint64, n int, report string) (x tally, err error) {
	self, err := os.Executable()
	if err != nil {
		return x, err
	}
	child := exec.CommandContext(ctx, self, "-test.run", "^TestSeedsKeepEveryPromise$", "-test.timeout", "0",
		"-seed", fmt.Sprint(first), "-seeds", fmt.Sprint(n), "-plant", *plantFlag, "-report", report)
	said, err := child.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, said)
	}
	text, reading := os.ReadFile(report)
	if reading == nil {
		reading = json.Unmarshal(text, &x)
	}
	return x, errors.Join(err, reading)
}
