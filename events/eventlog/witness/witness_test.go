package witness_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/receiptd/receiptd/events/eventlog/witness"
)

func attestations(last uint64) witness.Attestations {
	return witness.Attestations{
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

func TestLatestAttestationsAreRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "witness")
	if m, err := witness.Read(dir); err != nil || len(m) != 0 {
		t.Fatalf("nothing there: %v, %v", m, err)
	}
	for last := range uint64(5) {
		f, err := witness.Open(dir)
		must(t, err)
		must(t, f.Write(attestations(last+1)))
		got, err := witness.Read(dir)
		must(t, err)
		if !maps.Equal(got, attestations(last+1)) {
			t.Errorf("got %v", got)
		}
	}
}

// Whatever a crash leaves of the file being written, the attestations before are there.
func TestTornWriteLeavesTheAttestationsBefore(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(attestations(1))) // to witness.1
	must(t, f.Write(attestations(2)))
	path := filepath.Join(dir, "witness.0")
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		got, err := witness.Read(dir)
		must(t, err)
		complete := len(strings.TrimRight(string(whole), "\n")) <= n
		if want := map[bool]witness.Attestations{false: attestations(1), true: attestations(2)}[complete]; !maps.Equal(got, want) {
			t.Fatalf("%d bytes: %v", n, got)
		}
	}
}

func TestFlippedBitIsNeverBelieved(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(attestations(1)))
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

func TestUnchangedAttestationsAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	f, err := witness.Open(dir)
	must(t, err)
	must(t, f.Write(attestations(1)))
	must(t, f.Write(attestations(1)))
	if _, err := os.Stat(filepath.Join(dir, "witness.0")); err == nil {
		t.Error("the same attestations were written twice")
	}
}

// What a later version wrote says more than this one understands: it is not taken for less.
func TestLaterFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	body := `{"format":9,"version":1,"marks":[]}`
	text := body + "\n" + fmt.Sprintf("%016x", xxhash.Sum64String(body)) + "\n"
	must(t, os.WriteFile(filepath.Join(dir, "witness.0"), []byte(text), 0o600))
	if _, err := witness.Read(dir); !errors.Is(err, witness.ErrDamaged) || !strings.Contains(err.Error(), "later version") {
		t.Errorf("error %v", err)
	}
}

// A witness as it was before it had a format.
func TestFirstFormatIsRead(t *testing.T) {
	dir := t.TempDir()
	body := `{"version":7,"marks":[{"stream":"KV_a","created":"2026-01-02T03:04:05.000000006Z","last":9}]}`
	text := body + "\n" + fmt.Sprintf("%016x", xxhash.Sum64String(body)) + "\n"
	must(t, os.WriteFile(filepath.Join(dir, "witness.1"), []byte(text), 0o600))
	got, err := witness.Read(dir)
	must(t, err)
	want := witness.Attestation{Stream: "KV_a", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Last: 9}
	if got["KV_a"] != want {
		t.Errorf("got %v", got)
	}
	f, err := witness.Open(dir)
	must(t, err)
	want.Blocks = witness.Join([]witness.Block{{Index: 1, Size: 8 << 20}, {Index: 3}})
	must(t, f.Write(witness.Attestations{"KV_a": want}))
	got, err = witness.Read(dir)
	must(t, err)
	if list := slices.Collect(got["KV_a"].Blocks.All()); !slices.Equal(list, []witness.Block{{Index: 1, Size: 8 << 20}, {Index: 3}}) {
		t.Errorf("blocks %v", list)
	}
}
