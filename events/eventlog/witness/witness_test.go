package witness_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/witness"
)

func marks(last uint64) witness.Marks {
	return witness.Marks{
		"A": {Stream: "A", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Last: last, Fingerprint: last * 7, Trimmed: 3},
		"B": {Stream: "B", Last: 2 * last},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLatestMarksAreRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "witness")
	if m, err := witness.Read(dir); err != nil || len(m) != 0 {
		t.Fatalf("nothing there: %v, %v", m, err)
	}
	for last := range uint64(5) {
		f, err := witness.Open(dir)
		must(t, err)
		must(t, f.Write(marks(last+1)))
		got, err := witness.Read(dir)
		must(t, err)
		if !maps.Equal(got, marks(last+1)) {
			t.Errorf("got %v", got)
		}
	}
}

// Whatever a crash leaves of the file being written, the marks before are there.
func TestTornWriteLeavesTheMarksBefore(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(marks(1))) // to witness.1
	must(t, f.Write(marks(2)))
	path := filepath.Join(dir, "witness.0")
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		got, err := witness.Read(dir)
		must(t, err)
		complete := len(strings.TrimRight(string(whole), "\n")) <= n
		if want := map[bool]witness.Marks{false: marks(1), true: marks(2)}[complete]; !maps.Equal(got, want) {
			t.Fatalf("%d bytes: %v", n, got)
		}
	}
}

func TestFlippedBitIsNeverBelieved(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(marks(1)))
	path := filepath.Join(dir, "witness.1")
	whole, err := os.ReadFile(path)
	must(t, err)
	for at := range len(strings.TrimRight(string(whole), "\n")) {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 4
		must(t, os.WriteFile(path, bad, 0o600))
		if m, err := witness.Read(dir); !errors.Is(err, witness.ErrDamaged) {
			t.Fatalf("byte %d: %v, %v", at, m, err)
		}
	}
}

func TestUnchangedMarksAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(marks(1)))
	must(t, f.Write(marks(1)))
	if _, err := os.Stat(filepath.Join(dir, "witness.0")); err == nil {
		t.Error("the same marks were written twice")
	}
}
