// Command mutants plants bugs in receiptd, one at a time, and sees whether the tests find them.
//
// Each bug is a line that somebody might have written wrong; the table says which test turns red
// because of it. The tree itself is not touched. Run it from anywhere inside the module:
//
//	go run ./internal/lab/mutants                  all of them
//	go run ./internal/lab/mutants --only witness   those whose names match
//	go run ./internal/lab/mutants --nemesis        those that the checker of a cluster has to find
//
// With --nemesis the bugs are in real nodes, which faults befall while clients are at work, until
// the checker finds that something is wrong: minutes for each, beside nothing else.
// It exits with 1 if a bug is not caught by the test that the table names: then a test is missing,
// or the table is wrong. docs/mutations.md is the table for readers; go test -update writes it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/receiptd/receiptd/internal/progress"
)

func main() {
	only := flag.String("only", "", "run the mutants whose names match this `regexp`")
	jobs := flag.Int("jobs", 1, "run so many at a time; more than one makes tests that measure time flaky")
	timeout := flag.Duration("timeout", 5*time.Minute, "let the tests of one mutant take so long")
	faulty := flag.Bool("nemesis", false, "plant bugs in a cluster under stress; a --timeout of 30m leaves time to settle")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, *jobs, *timeout, *faulty); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, jobs int, timeout time.Duration, faulty bool) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &runner{root: root, dir: dir, timeout: timeout, only: faulty}
	chosen := slices.DeleteFunc(all(faulty), func(m *Mutant) bool { return !pattern.MatchString(m.Name) })
	meter := progress.New(os.Stderr, progress.Options{Label: "mutants", Unit: "mutants", Total: int64(len(chosen))})
	results := runAll(ctx, r, chosen, jobs, func(res result) {
		meter.Add(1)
		fmt.Print(describe(&res))
	})
	meter.Close()
	return summarize(results)
}

// all are the mutants that the tests have to find, or those that the checker has to.
func all(faulty bool) (list []*Mutant) {
	if faulty {
		for i := range nemeses {
			list = append(list, nemeses[i].mutant())
		}
		return list
	}
	for i := range mutants {
		list = append(list, &mutants[i])
	}
	return list
}

// runAll runs mutants, some at a time, and tells what became of each.
func runAll(ctx context.Context, r *runner, list []*Mutant, jobs int, tell func(result)) map[verdict]int {
	var (
		counts  = map[verdict]int{}
		mu      sync.Mutex
		running sync.WaitGroup
		todo    = make(chan *Mutant)
	)
	for range max(jobs, 1) {
		running.Go(func() {
			for m := range todo {
				res := r.run(ctx, m)
				mu.Lock()
				if ctx.Err() == nil {
					counts[res.verdict]++
					tell(res)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range list {
		if ctx.Err() == nil {
			todo <- m
		}
	}
	close(todo)
	running.Wait()
	return counts
}

// describe is a line about a result, and what there is to know besides.
func describe(res *result) string {
	line := fmt.Sprintf("%-22s %-36s %6.1fs  %s\n", res.verdict, res.mutant.Name, res.took.Seconds(), strings.Join(res.tests, ", "))
	if res.detail != "" {
		line += "    " + strings.ReplaceAll(res.detail, "\n", "\n    ") + "\n"
	}
	if res.verdict == survived {
		line += "    " + res.mutant.Bug + "\n"
	}
	return line
}

// summarize counts the verdicts; anything but caught is an error.
func summarize(counts map[verdict]int) error {
	total := 0
	var others []string
	for _, v := range []verdict{caught, elsewhere, survived, invalid, red} {
		total += counts[v]
		if n := counts[v]; v != caught && n > 0 {
			others = append(others, fmt.Sprintf("%d %s", n, v))
		}
	}
	fmt.Printf("%d mutants, %d caught by the test that the table names\n", total, counts[caught])
	if len(others) > 0 {
		return fmt.Errorf("of %d: %s", total, strings.Join(others, ", "))
	}
	return nil
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	file := cmp.Or(strings.TrimSpace(string(out)), os.DevNull)
	if file == os.DevNull {
		return "", fmt.Errorf("run it inside the module")
	}
	return filepath.Dir(file), nil
}
