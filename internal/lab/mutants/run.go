package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// verdict is what became of a mutant.
type verdict string

const (
	// caught: the test named with it turned red, and is green without the bug.
	caught verdict = "caught"
	// elsewhere: another test of the package turned red, but not the one named.
	elsewhere verdict = "caught by another test"
	// survived: every test of the package is green with the bug in it.
	survived verdict = "SURVIVED"
	// invalid: the bug could not be planted, or does not compile.
	invalid verdict = "INVALID"
	// red: the test fails without the bug.
	red verdict = "RED WITHOUT IT"
)

// result is what a run of a mutant found.
type result struct {
	mutant  *Mutant
	verdict verdict
	tests   []string // that turned red
	detail  string   // what the compiler said, or the test without the bug
	took    time.Duration
}

// runner runs mutants on a tree that it does not touch: the compiler is told to read the changed
// file in the place of the other one.
type runner struct {
	root    string        // of the module
	dir     string        // for the changed files
	timeout time.Duration // of the tests of one package
	only    bool          // the test that is named, and no other one of its package

	mu       sync.Mutex
	controls map[string]outcome // what tests said without a bug
}

func (r *runner) run(ctx context.Context, m *Mutant) (res result) {
	began := time.Now()
	res = result{mutant: m, verdict: invalid}
	defer func() { res.took = time.Since(began) }()
	overlay, err := r.overlay(m)
	if err != nil {
		res.detail = err.Error()
		return res
	}
	if m.Test != "" {
		o := r.test(ctx, m, overlay, "^"+m.Test+"$")
		if o.broken != "" {
			res.detail = o.broken
			return res
		}
		if r.only {
			r.keep(m, o.said)
		}
		if len(o.failed) > 0 {
			res.verdict, res.tests = caught, o.failed
			r.control(ctx, &res)
			return res
		}
		if r.only {
			res.verdict = survived
			return res
		}
	}
	o := r.test(ctx, m, overlay, "")
	res.verdict, res.tests = elsewhere, o.failed
	switch {
	case o.broken != "":
		res.verdict, res.detail = invalid, o.broken
	case len(o.failed) == 0:
		res.verdict = survived
	default:
		r.control(ctx, &res)
	}
	return res
}

// keep writes what the test said to a file, for those who ask what it was that turned it red.
func (r *runner) keep(m *Mutant, said string) {
	file := filepath.Join(os.TempDir(), "mutant-"+m.Name+".log")
	if err := os.WriteFile(file, []byte(said), 0o600); err != nil {
		file = err.Error()
	}
	fmt.Printf("%s said: %s\n", m.Test, file)
}

// control runs the tests that turned red once more without the bug, unless that was done before.
func (r *runner) control(ctx context.Context, res *result) {
	m := res.mutant
	pattern := "^(" + strings.Join(res.tests, "|") + ")$"
	key := fmt.Sprint(m.Package, pattern, m.Args)
	r.mu.Lock()
	clean, done := r.controls[key]
	r.mu.Unlock()
	if !done {
		clean = r.test(ctx, m, "", pattern)
		r.mu.Lock()
		if r.controls == nil {
			r.controls = map[string]outcome{}
		}
		r.controls[key] = clean
		r.mu.Unlock()
	}
	if clean.broken != "" || len(clean.failed) > 0 {
		res.verdict, res.detail = red, clean.broken+strings.Join(clean.failed, ", ")
	}
}

// overlay writes the changed file, and the description of it that the go command takes.
func (r *runner) overlay(m *Mutant) (string, error) {
	text, err := m.source(r.root)
	if err != nil {
		return "", err
	}
	if text, err = m.apply(text); err != nil {
		return "", err
	}
	changed := filepath.Join(r.dir, m.Name+".go")
	description, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(r.root, filepath.FromSlash(m.File)): changed},
	})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(r.dir, m.Name+".json")
	return overlay, errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, description, 0o600))
}

// outcome is what the tests of a package said.
type outcome struct {
	failed []string // top-level tests, in the order in which they failed
	broken string   // why there are no tests: the compiler's words
	said   string   // what the tests have logged
}

// testEvent is a line of go test -json.
type testEvent struct {
	Action, Test, Output, FailedBuild string
}

// test runs the tests of the mutant's package. The overlay is in the environment, so that tests
// which build the programs build them with the bug.
func (r *runner) test(ctx context.Context, m *Mutant, overlay, pattern string) (o outcome) {
	// Vet and what debuggers need say nothing here, and take longer than most tests.
	args := []string{"test", "-json", "-short", "-failfast", "-vet=off", "-ldflags=-s -w", "-timeout", r.timeout.String(), "./" + m.Package}
	if pattern != "" {
		args = append(append(args, "-run", pattern), m.Args...)
	}
	// The timeout of the tests does not count the time to compile them.
	ctx, cancel := context.WithTimeout(ctx, r.timeout+10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // ends the tests too
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = os.Environ()
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return outcome{broken: "ended after " + r.timeout.String()}
	}
	return judge(out, stderr.String(), err)
}

// judge reads the output of go test -json.
func judge(out []byte, stderr string, err error) (o outcome) {
	var build, text, said strings.Builder
	started := ""
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e testEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		test, _, _ := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "build-output":
			build.WriteString(e.Output)
		case e.Action == "run" && test == e.Test:
			started = test
		case e.Action == "output" && test == "":
			text.WriteString(e.Output)
		case e.Action == "output":
			said.WriteString(e.Output)
		case e.Action == "fail" && e.FailedBuild != "":
			return outcome{broken: strings.TrimSpace(build.String())}
		case e.Action == "fail" && test != "" && test == e.Test && !slices.Contains(o.failed, test):
			o.failed = append(o.failed, test)
		}
	}
	o.said = said.String()
	switch {
	case err != nil && len(o.failed) == 0 && started != "": // the process died
		o.failed = []string{started}
	case err != nil && len(o.failed) == 0:
		o.broken = strings.TrimSpace(fmt.Sprintf("%v\n%s%s", err, stderr, text.String()))
	case err == nil && noTests.MatchString(text.String()):
		o.broken = "there is no such test"
	}
	return o
}

var noTests = regexp.MustCompile(`no tests to run|no test files`)
