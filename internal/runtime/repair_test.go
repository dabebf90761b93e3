package runtime

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
)

// A state that has what its log lost is given up only where that is accepted, and even then kept.
func TestStateWithMoreThanTheLogIsKept(t *testing.T) {
	cfg := testConfig(t)
	logger := slog.New(slog.DiscardHandler)
	live := func(id string) {
		r := start(t, cfg)
		r.append(configured(1, limit(10)))
		r.append(group(id, 5)...)
		r.caughtUp()
		r.stop()
	}
	live("g")
	older := t.TempDir()
	for _, name := range []string{logDir, witnessDir} {
		if err := os.CopyFS(filepath.Join(older, name), os.DirFS(filepath.Join(cfg.Data, name))); err != nil {
			t.Fatal(err)
		}
	}
	live("g2")
	for _, name := range []string{logDir, witnessDir} {
		at := filepath.Join(cfg.Data, name)
		if err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(filepath.Join(older, name)))); err != nil {
			t.Fatal(err)
		}
	}
	x, codes := examine(t, cfg)
	i := slices.Index(codes, foundStateAhead)
	if x.Healthy || i < 0 {
		t.Fatalf("the doctor finds %v", codes)
	}
	var accept []eventlog.Range
	for _, f := range x.Findings {
		if f.Code == foundStateAhead {
			accept = append(accept, eventlog.Range{Stream: f.Stream, First: f.First, Last: f.Last})
		}
	}
	short := slices.Clone(accept)
	short[len(short)-1].Last--
	for _, o := range []eventlog.RepairOptions{{}, {Accept: short}} {
		if _, err := Repair(testContext(t), cfg, o, logger); !errors.Is(err, eventlog.ErrLoss) || len(keptStates(cfg)) > 0 {
			t.Errorf("%+v was enough: %v", o, err)
		}
	}
	done, err := Repair(testContext(t), cfg, eventlog.RepairOptions{Accept: accept}, logger)
	kept := keptStates(cfg)
	if err != nil || len(kept) != len(accept) || !slices.ContainsFunc(done, func(r eventlog.Repaired) bool { return r.Aside == kept[0] }) {
		t.Fatalf("%+v, %v; kept are %q", done, err, kept)
	}
	if x, codes := examine(t, cfg); !x.Healthy || !slices.Contains(codes, foundStateKept) {
		t.Errorf("after it the doctor finds %v", codes)
	}
	live("g3")
	if again := keptStates(cfg); !slices.Equal(again, kept) {
		t.Errorf("a start left %q of %q", again, kept)
	}
}
