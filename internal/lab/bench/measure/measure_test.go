package measure_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

func TestQuantiles(t *testing.T) {
	var s measure.Samples
	if got := s.Quantile(0.99); got != 0 {
		t.Errorf("no samples: %v", got)
	}
	for i := 200; i > 0; i-- {
		s.Add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 101, 0.99: 199, 1: 200} {
		if got := s.Quantile(q); got != want {
			t.Errorf("quantile %v: %v ms, want %v", q, got, want)
		}
	}
	if s.Len() != 200 {
		t.Errorf("%d samples", s.Len())
	}
}

func TestDiskBytesAddsUpFilesOfAllLevels(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"x": 10, "a/y": 200, "a/b/z": 3000} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := measure.DiskBytes(dir); err != nil || n != 3210 {
		t.Errorf("%v bytes, %v", n, err)
	}
}

// The processor time of a server may be mostly that of its children, running or ended.
func TestTreeCPUHasTheTimeOfDescendants(t *testing.T) {
	const spin = `spin() { i=0; while [ $i -lt $1 ]; do i=$((i+1)); done; }; `
	for name, script := range map[string]string{
		"ended":   spin + `(spin 200000) ; echo done; read x`,
		"running": spin + `(spin 200000; echo done; read x)`,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", script)
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
			if _, err := out.Read(make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			got, err := measure.TreeCPUSeconds(cmd.Process.Pid)
			in.Close()
			_ = cmd.Wait() // read fails at the end of its input, so the exit code is 1
			used := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			if err != nil || got < used/2 || got > used+0.05 || got == 0 {
				t.Errorf("%v s, %v; the kernel says %v", got, err, used)
			}
		})
	}
	if s, err := measure.TreeCPUSeconds(1 << 30); err == nil {
		t.Errorf("no such process: %v s", s)
	}
}
