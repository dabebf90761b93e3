package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The clock of a machine is not set for a test, a Go program asks nobody whom a library could stand
// in for, and a time namespace has no wall clock of its own. So the programs are built once more,
// with a time.Now that steps: by how much, and after how much of the process's life, is in
// its environment.
const (
	nowWas = "mono -= startNano\n\tsec += unixToInternal - minWall\n"
	nowIs  = "mono -= startNano\n\tsec += steppedBy(mono)\n\tsec += unixToInternal - minWall\n"
	step   = `package time

import "syscall"

var clockStep, clockStepAfter = readStep("CLOCK_STEP"), readStep("CLOCK_STEP_AFTER")

func readStep(name string) int64 {
	text, _ := syscall.Getenv(name)
	d, _ := ParseDuration(text)
	return int64(d)
}

// steppedBy is how many seconds the wall clock has been stepped by.
func steppedBy(mono int64) int64 {
	if clockStep == 0 || mono < clockStepAfter {
		return 0
	}
	return clockStep / int64(Second)
}
`
)

// steppingPrograms builds them, once.
func (l *lab) steppingPrograms(ctx context.Context) (string, error) {
	if l.stepped != "" {
		return l.stepped, nil
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		return "", err
	}
	if bytes.Count(source, []byte(nowWas)) != 1 {
		return "", fmt.Errorf("%w: this Go has another time.Now", errImpossible)
	}
	dir := filepath.Join(l.dir, "stepping")
	files := map[string]string{"time.go": strings.Replace(string(source), nowWas, nowIs, 1), "clockstep.go": step}
	replace := map[string]string{}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range files {
		replace[filepath.Join(lib, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err == nil {
		err = build(ctx, filepath.Join(dir, "bin"), "-overlay", filepath.Join(dir, "overlay.json"))
	}
	if err != nil {
		return "", err
	}
	l.stepped = filepath.Join(dir, "bin")
	return l.stepped, nil
}

// clockSteps step the wall clock of a server while it works, and set it for the starts after that.
func (l *lab) clockSteps(ctx context.Context) ([]faultCase, error) {
	programs, err := l.steppingPrograms(ctx)
	if err != nil {
		return nil, err
	}
	var cases []faultCase
	for _, by := range []string{"-1s", "-1h", "-24h", "1h", "24h"} {
		cases = append(cases, faultCase{"by " + by + " under load, and back at the next start", func(ctx context.Context, t *trial) (string, error) {
			s := t.newServer(filepath.Join(t.dir, "data"), "--checkpoint-interval=200ms")
			s.programs, s.env = programs, []string{"CLOCK_STEP=" + by, "CLOCK_STEP_AFTER=1s"}
			return t.livesThrough(ctx, s, func() error {
				s.env = nil // for the next start
				return sleep(ctx, 1500*time.Millisecond)
			})
		}}, faultCase{"by " + by + " between starts", func(ctx context.Context, t *trial) (string, error) {
			s := t.newServer(filepath.Join(t.dir, "data"), "--checkpoint-interval=200ms")
			s.programs = programs
			return t.livesThrough(ctx, s, func() error {
				s.env = []string{"CLOCK_STEP=" + by}
				return errors.Join(s.kill(), s.start(ctx))
			})
		}})
	}
	return cases, nil
}
