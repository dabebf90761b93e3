package projector

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// What interrupted rebuilds left is removed at the next start. A damaged pointer is not taken for
// an order to remove everything, nor does it stop the start.
func TestLeftOverGenerationsAreRemoved(t *testing.T) {
	log := openLog(t, 1)
	log.Group(2)
	log.Put(2, burst(0, 5, 2)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	want := r.digests(t)
	root := r.workers[0].root
	r.stop()

	g := must[*fold.Generation](t)(fold.OpenNext(root, fold.Options{Logger: natstest.Logger(t)}))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	p := open(t, log, o)
	onlyGeneration(t, p, 1)
	if got := p.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	p.discard()

	// The state that is there is used, whatever became of the file that names it.
	for _, damaged := range []string{"", "..", "1x", "1", "000003\n", "1\n", "00\x0001\n"} {
		g := must[*fold.Generation](t)(fold.OpenNext(root, fold.Options{Logger: natstest.Logger(t)}))
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		writeFile(t, root, fold.CurrentFile, damaged)
		p := open(t, log, o)
		onlyGeneration(t, p, 1)
		if got := p.digests(t); !slices.Equal(got, want) {
			t.Errorf("%q: digests %v, want %v", damaged, got, want)
		}
		p.discard()
	}
}

// A switch that fails at its one step leaves the live state as it was, in use and on the disk.
func TestFailedSwitchLeavesTheLiveState(t *testing.T) {
	log := openLog(t, 1)
	log.Group(3)
	log.Put(2, burst(0, 10, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	want := r.digests(t)
	inTheWay := filepath.Join(r.workers[0].root, fold.CurrentFile+".tmp")
	if err := os.MkdirAll(filepath.Join(inTheWay, "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if result, err := r.Rebuild(testContext(t), RebuildOptions{Switch: true}); err == nil || !strings.Contains(err.Error(), "switch generation") {
		t.Errorf("%+v, %v", result, err)
	}
	onlyGeneration(t, r.Projector, 1)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	log.Put(2, burst(10, 1, 3)...)
	r.caughtUp()
	if m, err := r.Message(app, message(10)); err != nil || m.Read != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{Switch: true}); err != nil {
		t.Error(err)
	}
	onlyGeneration(t, r.Projector, 2)
}

// A compaction is for quiet hours: it changes no answer, and waits for no rebuild.
func TestCompactChangesNoAnswer(t *testing.T) {
	log := openLog(t, 2)
	g := log.Traffic(smallTraffic(9), 3000)
	r := start(t, log, Options{})
	r.caughtUp()
	want := r.digests(t)
	if err := r.Compact(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	checkCounts(t, r.Projector, g)
	var during error
	if _, err := r.Rebuild(testContext(t), RebuildOptions{Progress: func(Progress) { during = r.Compact(testContext(t)) }}); err != nil {
		t.Error(err)
	}
	if !errors.Is(during, ErrRebuilding) {
		t.Errorf("during a rebuild: %v", during)
	}
}
