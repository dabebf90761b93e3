package clock

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// asked prints the time, and how long it has run, for each line that it reads.
const asked = `package main

import ("bufio"; "fmt"; "os"; "time")

func main() {
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().UnixNano(), int64(time.Since(began)))
	}
}
`

// A program that runs sees its clock jump, both ways; the span that it has run is what it was; and
// a program that is started later has the clock as it was set.
func TestClocksOfProgramsAreSet(t *testing.T) {
	dir := t.TempDir()
	overlay, err := Overlay(dir)
	if err != nil {
		t.Fatal(err)
	}
	source, program := filepath.Join(dir, "asked.go"), filepath.Join(dir, "asked")
	if err := os.WriteFile(source, []byte(asked), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := New(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ask := start(t, program, c)
		for _, fast := range []time.Duration{10 * time.Minute, -10*time.Minute - 300*time.Millisecond, 0, -time.Nanosecond, 24 * time.Hour} {
			if err := c.Set(fast); err != nil {
				t.Fatal(err)
			}
			const slack = 5 * time.Second // on a busy machine
			if off := time.Until(ask()) - fast; off < -slack || off > slack {
				t.Errorf("set to be %v fast, it is %v more", fast, off)
			}
		}
	}
}

// start starts the program, whose clock is then asked.
func start(t *testing.T, program string, c *Clock) (ask func() time.Time) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), c.Env())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(out)
	return func() time.Time {
		fmt.Fprintln(in)
		var now, ran int64
		if _, err := fmt.Fscanln(lines, &now, &ran); err != nil {
			t.Fatal(err)
		}
		if ran < 0 || ran > int64(time.Minute) {
			t.Errorf("it measures that it has run for %v", time.Duration(ran))
		}
		return time.Unix(0, now)
	}
}
