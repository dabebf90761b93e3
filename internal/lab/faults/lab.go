package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// scenario is a kind of fault.
type scenario struct {
	name, fault, promise string
	// cases returns the cases; a fault that this machine cannot inflict is errImpossible.
	cases func(l *lab, ctx context.Context) ([]faultCase, error)
}

// faultCase is one fault inflicted. It returns what was seen, in a word or two that are counted. An
// error is a broken promise.
type faultCase struct {
	name string
	run  func(ctx context.Context, t *trial) (seen string, err error)
}

// errImpossible is returned where the machine does not let one inflict a fault.
var errImpossible = errors.New("not possible here")

var scenarios = []scenario{
	{"inputs", "the inputs of issue 10", "refused with a name, or healed; never served as whole", (*lab).inputs},
	{"kills", "`kill -9` under load", "what was answered is there, once", (*lab).kills},
	{"corruptions", "damage to the files of a stopped server", "refused by name, then the loss accepted and told; or healed and equal", (*lab).corruptions},
	{"calls", "a system call on log, witness or state fails, half of the time for good", "an error that names the cause or the file; after a restart all that was answered is there", (*lab).calls},
	{"power", "power loss: the file system is shut down under load", "what was answered is there, once", (*lab).powerLosses},
	{"readonly", "the file system turns read-only under load", "events are refused or the process ends; after a restart all that was answered is there", (*lab).readOnly},
	{"pauses", "SIGSTOP, then SIGCONT", "nothing is lost or doubled; the server goes on", (*lab).pauses},
	{"clock", "the wall clock steps under load and between starts", "nothing is lost or doubled; sequences and positions stay", (*lab).clockSteps},
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// lab is one run of the command.
type lab struct {
	runCommand
	dir      string // for everything that is made
	programs string
	progress io.Writer

	template *template // made by the first who needs it
	stepped  string    // directory of programs whose clock steps; made likewise
}

// trial is one case under way.
type trial struct {
	*lab
	dir    string // its own, empty at first
	random *rand.Rand
}

// run runs the cases of a scenario.
func (l *lab) run(ctx context.Context, s scenario) ([]row, error) {
	r := row{fault: s.fault, promise: s.promise, command: "run --only " + s.name}
	cases, err := s.cases(l, ctx)
	if errors.Is(err, errImpossible) {
		r.seen = err.Error()
		return []row{r}, nil
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]int{}
	for i, c := range cases {
		if l.Case >= 0 && i != l.Case {
			continue
		}
		r.cases++
		what, err := l.try(ctx, s, i, c)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case errors.Is(err, errImpossible):
			what = err.Error()
		case err != nil:
			r.broken++
			what = "BROKEN"
			fmt.Fprintf(l.progress, "%s %d (%s) broke its promise: %v\n", s.name, i, c.name, err)
		}
		seen[what]++
		fmt.Fprintf(l.progress, "%s %d/%d: %s: %s\n", s.name, i+1, len(cases), c.name, what)
	}
	var parts []string
	for _, what := range slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return seen[b] - seen[a] }) {
		parts = append(parts, fmt.Sprintf("%d %s", seen[what], what))
	}
	r.seen = strings.Join(parts, "; ")
	return []row{r}, nil
}

// try runs a case in a directory of its own, which is kept if it fails and that is wished.
func (l *lab) try(ctx context.Context, s scenario, i int, c faultCase) (string, error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("%s-%d", s.name, i))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	hash := uint64(len(s.name))
	for _, b := range []byte(s.name) {
		hash = hash*31 + uint64(b)
	}
	t := &trial{lab: l, dir: dir, random: rand.New(rand.NewPCG(l.Seed, hash<<32+uint64(i)))}
	what, err := c.run(ctx, t)
	if err != nil && l.Keep != "" && !errors.Is(err, errImpossible) {
		kept := filepath.Join(l.Keep, filepath.Base(dir))
		if copied := os.CopyFS(kept, os.DirFS(dir)); copied != nil {
			return what, errors.Join(err, copied)
		}
		err = fmt.Errorf("%w (data kept in %s)", err, kept)
	}
	return what, err
}
