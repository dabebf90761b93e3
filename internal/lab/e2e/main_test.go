// Package e2e drives the programs as their users do: receiptd as a process that is stopped, killed
// and starved, over HTTP on loopback, and receiptctl by its command line. It is all tests.
//
// Seeds of random runs are printed; SEED=N repeats one, as far as the timing of processes lets it.
package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// root is the module's directory, seen from this one.
const root = "../../.."

// programs is the directory of the programs under test.
var programs string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if programs, err = os.MkdirTemp("", "receiptd-e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(programs)
	build := exec.Command("go", "build", "-o", programs+string(filepath.Separator), "./cmd/receiptd", "./cmd/receiptctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// random returns a source of randomness whose seed is printed if the test fails.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
