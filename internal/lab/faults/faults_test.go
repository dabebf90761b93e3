package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// programs are built once for all tests.
var programs string

func TestMain(m *testing.M) {
	code := 1
	dir, err := os.MkdirTemp("", "receiptd-faults-")
	if err == nil {
		programs = dir
		err = build(context.Background(), programs)
	}
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// TestFaults is the short form of the command: a sample of every scenario but two, the clock, whose
// programs take too long to build, and the file system that turns read-only: see docs/faults.md. It
// is the same sample each time, unless SEED draws another one.
func TestFaults(t *testing.T) {
	seed := uint64(21)
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	sample := map[string]int{"inputs": 14, "kills": 1, "corruptions": 10, "calls": 4, "power": 2, "pauses": 1}
	l := labOf(t, seed)
	for _, s := range scenarios {
		n := sample[s.name]
		if n == 0 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			cases, err := s.cases(l, t.Context())
			if errors.Is(err, errImpossible) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			order := random.Perm(len(cases))
			if s.name != "corruptions" && s.name != "calls" {
				slices.Sort(order)
			}
			work := make(chan int)
			var all sync.WaitGroup
			for range atATime(s.name) {
				all.Go(func() {
					for i := range work {
						tryCase(t, l, s, i, cases[i])
					}
				})
			}
			for _, i := range order[:min(n, len(order))] {
				work <- i
			}
			close(work)
			all.Wait()
		})
	}
}

var (
	lastLab  *lab
	lastSeed uint64
)

// labOf is the lab of a seed. What is made once for all cases is made once for all tests.
func labOf(t *testing.T, seed uint64) *lab {
	t.Helper()
	if lastLab == nil || lastSeed != seed {
		dir, err := os.MkdirTemp(programs, "lab-")
		if err != nil {
			t.Fatal(err)
		}
		lastLab, lastSeed = &lab{
			runCommand: runCommand{Seed: seed, Case: -1, Kills: 5, Corruptions: 500, Calls: 8, Losses: 1},
			dir:        dir, programs: programs,
		}, seed
	}
	lastLab.progress = t.Output()
	return lastLab
}

// What is missing, doubled or counted otherwise in ClickHouse is found, too.
func TestWhatIsWrongInClickHouseIsFound(t *testing.T) {
	l := labOf(t, 21)
	x, err := l.makeTemplate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trial := &trial{lab: l, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, 1))}
	s, err := trial.damaged(x.stopped, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer s.sink.Kill()
	defer s.kill()
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := x.oracle.filled(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	last := "(SELECT max(version) + 1 FROM messages)"
	for _, wrong := range []struct{ sql, found string }{
		{"INSERT INTO messages SELECT * REPLACE (read + 1 AS read, " + last + " AS version) FROM messages FINAL WHERE app = '" + x.oracle.app + "' LIMIT 1", "message"},
		{"INSERT INTO hours SELECT * REPLACE (read + 1 AS read, version + 1 AS version) FROM hours FINAL LIMIT 1", "message"},
		{"DELETE FROM events WHERE partition = 0 AND sequence = 3", "partition 0 has"},
		{"INSERT INTO events SELECT * FROM events WHERE partition = 1 LIMIT 1", "DOUBLED"},
	} {
		if _, err := s.sql(t.Context(), wrong.sql); err != nil {
			t.Fatal(err)
		}
		if err := x.oracle.compareSink(t.Context(), s); err == nil || !strings.Contains(err.Error(), wrong.found) {
			t.Errorf("%s: %v", wrong.sql, err)
		}
	}
}

// atATime is how many cases run beside each other: those that wait for a ClickHouse most of the
// time do.
func atATime(scenario string) int {
	if scenario == "inputs" || scenario == "corruptions" {
		return 3
	}
	return 1
}

// tryCase runs a case, and says how to run it again if a promise was broken.
func tryCase(t *testing.T, l *lab, s scenario, i int, c faultCase) {
	seen, err := l.try(t.Context(), s, i, c)
	switch {
	case errors.Is(err, errImpossible):
		t.Log(err)
	case err != nil:
		t.Errorf("%s: %v\nonly this: go run ./internal/lab/faults run --only %s --seed %d --case %d --calls 8 --losses 1 --kills 5", c.name, err, s.name, l.Seed, i)
	default:
		t.Logf("%s: %s", c.name, seen)
	}
}

// A judge that lets a wrong answer pass would let everything pass.
func TestWrongAnswersAndLossesAreFound(t *testing.T) {
	l := labOf(t, 21)
	x, err := l.makeTemplate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, tell := range map[string]func(o *oracle){
		"a reader more than there are": func(o *oracle) {
			for id, readers := range o.readers {
				o.readers[id] = append(slices.Clone(readers), "zz")
				return
			}
		},
		"a reader fewer than there are": func(o *oracle) {
			for id, readers := range o.readers {
				if len(readers) > 0 {
					o.readers[id] = readers[1:]
					return
				}
			}
		},
		"a message that is not there": func(o *oracle) { o.readers["none"] = []string{"a"} },
		"a user who is not there":     func(o *oracle) { o.users = append(slices.Clone(o.users), "nobody") },
		"a letter that is not there": func(o *oracle) {
			o.letters = maps.Clone(o.letters)
			o.letters["user2"] = &letters{waiting: append(slices.Clone(o.letters["user2"].waiting), "none")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			other := *x.oracle
			other.readers = map[string][]string{}
			for id, readers := range x.oracle.readers {
				other.readers[id] = readers
			}
			tell(&other)
			trial := &trial{lab: l, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, 1))}
			data := trial.dir + "/data"
			if err := clone(data, x.stopped); err != nil {
				t.Fatal(err)
			}
			if seen, err := judge(t.Context(), trial.newServer(data), &other, false); err == nil || !strings.Contains(err.Error(), "WRONG") {
				t.Errorf("%s, %v", seen, err)
			}
		})
	}
}

// Errors that last are another matter than those that pass: both belong to every run, a short one
// and that of the command's default, for each system call and error.
func TestFailuresThatLastAreInEveryRun(t *testing.T) {
	for _, n := range []int{2, 4, 8, len(places)} {
		lasting := 0
		for _, place := range places[:n] {
			if strings.HasSuffix(place, "+") {
				lasting++
			}
		}
		if lasting != n/2 {
			t.Errorf("%d of the first %d places last", lasting, n)
		}
	}
}

func TestEveryFuzzTargetIsFound(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	list, err := fuzzTargets(root)
	if err != nil || len(list) < 10 || !slices.Contains(list, target{"FuzzBatchDecode", "events"}) {
		t.Errorf("%v, %v", list, err)
	}
}

// A target that failed has kept an input, or did not run; that its time was up is neither.
func TestWhatARunOfATargetFound(t *testing.T) {
	const late = "--- FAIL: FuzzA (185.23s)\n    context deadline exceeded\nFAIL\n"
	const kept = "--- FAIL: FuzzA (2.01s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzA/7c\n"
	for _, test := range []struct {
		said, found string
		late        bool
	}{
		{late, "it did not run", true},
		{kept, "`testdata/fuzz/FuzzA/7c`", false},
		{"# a\n./a.go:3:1: syntax error\nFAIL a [build failed]\n", "it did not run", false},
	} {
		if found, ended := foundIn(test.said), endedLate(test.said); found != test.found || ended != test.late {
			t.Errorf("%q: found %s, ended late %v", test.said, found, ended)
		}
	}
}
