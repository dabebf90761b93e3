package clock

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrOtherGo: the Go that is here has a time.Now that this package does not know.
var ErrOtherGo = errors.New("clock: this Go has another time.Now")

const (
	nowWas = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowIs  = "func Now() Time {\n\tsec, nsec, mono := moved(runtimeNow())\n"
	// added is in package time, too. A program that cannot see its clock would prove nothing.
	added = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// fast is by how many nanoseconds the wall clock is fast; nil if it cannot be set.
var fast = shared()

func shared() *int64 {
	path, set := syscall.Getenv("` + variable + `")
	if !set {
		return nil
	}
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open " + path + ": " + err.Error())
	}
	page, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map " + path + ": " + err.Error())
	}
	_ = syscall.Close(file)
	return (*int64)(unsafe.Pointer(&page[0]))
}

func moved(sec int64, nsec int32, mono int64) (int64, int32, int64) {
	if fast == nil {
		return sec, nsec, mono
	}
	by := atomic.LoadInt64(fast) + int64(nsec)
	sec, by = sec+by/1e9, by%1e9
	if by < 0 {
		sec, by = sec-1, by+1e9
	}
	return sec, int32(by), mono
}
`
	// variable names the file of its clock to a program.
	variable = "LAB_CLOCK"
)

// Overlay writes into a directory what makes go build, with the flag -overlay and the path that is
// returned, build programs that take a [Clock]. The error is [ErrOtherGo] where it is not known
// how.
func Overlay(dir string) (path string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("clock: find the library of Go: %w", err)
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		return "", fmt.Errorf("clock: %w", err)
	}
	if bytes.Count(source, []byte(nowWas)) != 1 {
		return "", ErrOtherGo
	}
	replace := map[string]string{}
	for name, text := range map[string]string{"time.go": strings.Replace(string(source), nowWas, nowIs, 1), "moved.go": added} {
		replace[filepath.Join(lib, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("clock: %w", err)
		}
	}
	path = filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("clock: %w", err)
	}
	return path, nil
}

// Clock is the wall clock of programs that were built with the overlay. It is a file, which
// outlives them: what was set counts for later starts.
type Clock struct{ path string }

// New makes a clock that is right, and a file for it.
func New(path string) (*Clock, error) {
	c := &Clock{path}
	return c, c.Set(0)
}

// Env is for the environment of the programs.
func (c *Clock) Env() string { return variable + "=" + c.path }

// Set has the clock be fast by a time from now on, or slow if it is negative. Programs that run
// jump there at once.
func (c *Clock) Set(fast time.Duration) error {
	file, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(fast)), 0)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	return nil
}
