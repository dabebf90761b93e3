package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

type fuzzCommand struct {
	Time time.Duration `default:"1m" help:"How long each target runs."`
	Only string        `placeholder:"REGEXP" help:"Run these targets only, by name."`
}

// target is a fuzz target.
type target struct{ name, dir string }

var (
	fuzzFunction = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	progressLine = regexp.MustCompile(`execs: (\d+) .*\(total: (\d+)\)`)
)

// Run runs one target after the other. An input that breaks an invariant is kept by go test in
// testdata/fuzz beside the target, where every later go test runs it again.
func (c *fuzzCommand) Run(ctx context.Context) error {
	only, err := regexp.Compile(c.Only)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	targets, err := fuzzTargets(root)
	if err != nil {
		return err
	}
	fmt.Println("| target | package | time | executions | inputs kept | found |\n| --- | --- | --- | --- | --- | --- |")
	failed := 0
	for _, t := range targets {
		if !only.MatchString(t.name) {
			continue
		}
		execs, inputs, err := t.run(ctx, root, c.Time)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		found := "nothing"
		if err != nil {
			failed++
			found = foundIn(err.Error())
			fmt.Fprintf(os.Stderr, "%s: %v\n", t.name, err)
		}
		fmt.Printf("| `%s` | `%s` | %s | %s | %s | %s |\n", t.name, t.dir, c.Time, execs, inputs, found)
	}
	if failed > 0 {
		return fmt.Errorf("%d targets found an input that breaks them, or did not run", failed)
	}
	return nil
}

// fuzzTargets finds every target of the module.
func fuzzTargets(root string) (list []target, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range fuzzFunction.FindAllSubmatch(text, -1) {
			list = append(list, target{string(m[1]), dir})
		}
		return err
	})
	return list, err
}

var inputWritten = regexp.MustCompile(`Failing input written to (\S+)`)

// foundIn is what became of a run that failed, by what go test said: an input that was kept, or a
// target that did not run.
func foundIn(said string) string {
	if m := inputWritten.FindStringSubmatch(said); m != nil {
		return "`" + m[1] + "`"
	}
	return "it did not run"
}

// endedLate reports whether all that is wrong is that the time was up while an input was tried,
// which go test takes for a failure now and then.
func endedLate(said string) bool {
	return strings.Contains(said, "\n    context deadline exceeded\n") && !inputWritten.MatchString(said)
}

// inMemory has targets make their directories in memory, where the machine has such a directory:
// what a sync takes is not what they try. What go test builds stays where it was.
func inMemory(env []string) []string {
	const shared = "/dev/shm"
	if info, err := os.Stat(shared); err != nil || !info.IsDir() {
		return env
	}
	return append(env, "GOTMPDIR="+cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir()), "TMPDIR="+shared)
}

// shortenFor bounds how long an input is made shorter that reached something new. go test takes a
// minute, in which nothing else is tried: all of the time of a target whose inputs are long and
// whose executions take milliseconds.
const shortenFor = time.Second

// run fuzzes for a time and returns what go test said last of its progress.
func (t target) run(ctx context.Context, root string, d time.Duration) (execs, inputs string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+d.String(),
		"-fuzzminimizetime="+shortenFor.String(), "./"+t.dir)
	cmd.Dir, cmd.Env = root, inMemory(os.Environ())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		fmt.Fprintln(os.Stderr, line)
		if m := progressLine.FindStringSubmatch(line); m != nil {
			execs, inputs = m[1], m[2]
		} else {
			said.WriteString(line + "\n")
		}
	}
	if err := cmd.Wait(); err != nil && !endedLate(said.String()) {
		return execs, inputs, errors.Join(err, errors.New(said.String()))
	}
	return execs, inputs, nil
}
