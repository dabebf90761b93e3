//go:debug randseednop=0

package dst

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

var (
	seedsFlag = flag.Int("seeds", 0, "how many `seeds` to run; 0 = a sample")
	seedFlag  = flag.Uint64("seed", 1, "the first `seed`")
	forFlag   = flag.Duration("for", 0, "how `long` to run at most; 0 = until all seeds are through")
	procsFlag = flag.Int("procs", 1, "how many `processes` run seeds at a time, on a processor each")
	// reportFlag is for the processes that are begun for procsFlag.
	reportFlag = flag.String("report", "", "the `file` to write what came of the seeds to, instead of telling it")
	plantFlag  = flag.String("plant", "", "a `fault` of the world to plant: "+strings.Join(Plants, ", "))
)

// script is what the clients of a seed submit.
func script(seed uint64) (list []events.Event) {
	for _, e := range history.Logs().Example(int(seed)) {
		list = append(list, e.Events...)
	}
	return list
}

// play runs f in a bubble, on one processor: what is ready at the same time runs in the same order
// each time.
func play(t *testing.T, f func(t *testing.T)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// The NATS client keeps timers in a pool, and those of one bubble are of no use in another.
	runtime.GC()
	runtime.GC()
	// Nor may a garbage collection come between: [runSeed] collects between two seeds.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	synctest.Test(t, f)
}

var played int

// runSeed plays a seed, and collects the garbage of the last few.
func runSeed(r Run) Report {
	if played++; played%3 == 0 {
		runtime.GC()
	}
	return Play(r)
}

// real is the time outside of the bubble, for the flag that bounds a run.
func real(started int64) time.Duration { return time.Duration(nanotime() - started) }

// broken shows how a seed failed, and how to see it again.
func broken(t *testing.T, r Run, report Report) {
	t.Helper()
	trace := report.Trace
	if len(trace) > 200 {
		trace = trace[len(trace)-200:]
	}
	plant := ""
	if r.Plant != "" {
		plant = fmt.Sprintf(" -plant %q", r.Plant)
	}
	t.Errorf("seed %d: %s\n%s\nagain: go test ./internal/lab/dst -run TestSeedsKeepEveryPromise -seeds 1 -seed %d%s",
		r.Seed, report.Broken, strings.Join(trace, "\n"), r.Seed, plant)
}

// sample is how many seeds a test runs without the flag.
func sample(full int) int {
	if testing.Short() {
		return full / 10
	}
	return full
}

// Whatever breaks, in whatever order: an acknowledged event counts once or its loss was named, one
// that was not acknowledged counts once at most, answers are those of the model and do not go back,
// authors are told of everything, and the state is a fold of the log. Every kind of fault fires.
func TestSeedsKeepEveryPromise(t *testing.T) {
	n := *seedsFlag
	if n == 0 {
		n = sample(200)
	}
	started := nanotime()
	total := &tally{Report: Report{Kinds: map[string]int{}}}
	if *procsFlag > 1 {
		total = spread(t, *seedFlag, n, *procsFlag, *forFlag)
	} else {
		play(t, func(t *testing.T) { total.run(t, *seedFlag, n, started) })
	}
	if *reportFlag != "" {
		if err := total.keep(*reportFlag); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Logf("%d seeds, %d lives, %d steps, %d of them durable, in %v",
		total.Ran, total.Lives, total.Steps, total.Durable, real(started).Round(time.Second))
	for _, kind := range Kinds() {
		t.Logf("%8d  %s", total.Kinds[kind], kind)
		if total.Kinds[kind] == 0 && n >= 200 && total.Ran == n && *plantFlag == "" {
			t.Errorf("no %q in %d seeds", kind, n)
		}
	}
	for kind := range maps.Keys(total.Kinds) {
		if !slices.Contains(Kinds(), kind) {
			t.Errorf("%q is in no list", kind)
		}
	}
}

// run runs seeds one after the other, in the bubble that it is called in.
func (x *tally) run(t *testing.T, first uint64, n int, started int64) {
	for seed := first; seed < first+uint64(n); seed++ {
		if *forFlag != 0 && real(started) > *forFlag {
			return
		}
		r := Run{Seed: seed, Script: script(seed), Plant: *plantFlag}
		report := runSeed(r)
		x.add(report)
		x.Ran++
		if report.Broken != "" {
			broken(t, r, report)
		}
		if *seedsFlag > 1000 && x.Ran%1000 == 0 {
			fmt.Fprintf(os.Stderr, "%d seeds, %.0f a minute\n", x.Ran, float64(x.Ran)/real(started).Minutes())
		}
	}
}

// A seed does the same each time. Go takes the processor from a goroutine that seems to have run
// for ten milliseconds, and on a machine that has others to serve one that was not served looks
// just so. Then another one goes first: that happens to few seeds, and not in the same place again.
func TestSeedRepeatsExactly(t *testing.T) {
	play(t, func(t *testing.T) {
		seeds := sample(30)
		var differ []string
		for seed := uint64(1); seed <= uint64(seeds); seed++ {
			first := runSeed(Run{Seed: seed, Script: script(seed)}).Trace
			second := runSeed(Run{Seed: seed, Script: script(seed)}).Trace
			line := firstDifference(first, second)
			if line < 0 {
				continue
			}
			differ = append(differ, fmt.Sprintf("seed %d: line %d is %q, and then %q", seed, line, at(first, line), at(second, line)))
			third := runSeed(Run{Seed: seed, Script: script(seed)}).Trace
			if firstDifference(first, third) >= 0 && firstDifference(second, third) >= 0 {
				t.Errorf("seed %d: three runs are different, the first two from line %d on", seed, line)
			}
		}
		if most := 1 + seeds/10; len(differ) > most {
			t.Errorf("%d of %d seeds were different when they were run again:\n%s", len(differ), seeds, strings.Join(differ, "\n"))
		}
	})
}

// firstDifference is the first line in which two traces differ, -1 if there is none.
func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(the end)"
}

// The checks are worth something: each broken promise of the world is found.
func TestPlantedFaultsAreFound(t *testing.T) {
	play(t, func(t *testing.T) {
		for _, plant := range Plants {
			found := ""
			seed := uint64(1)
			for ; found == "" && seed <= 150; seed++ {
				found = runSeed(Run{Seed: seed, Script: script(seed), Plant: plant}).Broken
			}
			if found == "" {
				t.Errorf("%s: not found", plant)
				continue
			}
			t.Logf("%s: seed %d: %s", plant, seed-1, found)
		}
	})
}

// A life may end at each of its steps, before or after it.
func TestCrashAtEveryStep(t *testing.T) {
	play(t, func(t *testing.T) {
		for seed := uint64(1); seed <= 3; seed++ { // each way to die
			calm := runSeed(Run{Seed: seed, Script: short(seed), Calm: true})
			if calm.Broken != "" {
				t.Fatalf("seed %d without faults: %s", seed, calm.Broken)
			}
			stride := 1
			if testing.Short() {
				stride = 17
			}
			for n := 1; n <= calm.Steps; n += stride {
				r := Run{Seed: seed, Script: short(seed), CrashAt: n}
				if report := runSeed(r); report.Broken != "" {
					t.Errorf("seed %d, crash at step %d of %d: %s\n%s", seed, n, calm.Steps, report.Broken, strings.Join(report.Trace, "\n"))
				}
			}
			t.Logf("seed %d: %d steps, %d of them durable", seed, calm.Steps, calm.Durable)
		}
	})
}

// A repartition may end at each of its steps, before or after it, and is finished by the next one;
// and each of its requests may get lost, be late or be answered otherwise.
func TestRepartitionDiesAtEveryStep(t *testing.T) {
	play(t, func(t *testing.T) {
		for seed := uint64(1); seed <= 2; seed++ { // each side of a step
			run := Run{Seed: seed, Script: short(seed), Calm: true, SplitAt: 1000}
			whole := runSeed(run)
			if whole.Broken != "" || whole.SplitSteps < 6 {
				t.Fatalf("seed %d: %d steps, %s", seed, whole.SplitSteps, whole.Broken)
			}
			for run.SplitAt = 1; run.SplitAt <= whole.SplitSteps; run.SplitAt++ {
				if report := runSeed(run); report.Broken != "" || report.Kinds[kindSplit] != 1 {
					t.Errorf("seed %d, crash at step %d of %d: %s\n%s", seed, run.SplitAt, whole.SplitSteps, report.Broken, strings.Join(report.Trace, "\n"))
				}
			}
			for _, f := range toolFates {
				run.SplitFate = f
				for run.SplitAt = 1; run.SplitAt <= whole.SplitSteps; run.SplitAt++ {
					if report := runSeed(run); report.Broken != "" || report.Kinds[kindSplit] != 1 {
						t.Errorf("seed %d, %s, request %d: %s\n%s", seed, fateNames[f], run.SplitAt, report.Broken, strings.Join(report.Trace, "\n"))
					}
				}
			}
			t.Logf("seed %d: %d steps", seed, whole.SplitSteps)
		}
	})
}

// short is the beginning of a script.
func short(seed uint64) []events.Event { return script(seed)[:16] }
