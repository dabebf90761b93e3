package fold

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// What Durable says is on the disk, however small the checkpoint: entries leave the log because of
// it.
func TestDurableSurvivesPowerLoss(t *testing.T) {
	disk := vfs.NewCrashableMem()
	g := stateOn(t, disk)
	log := history.Logs().Example(3)
	foldAll(t, g, log, func() error { return nil })
	sequence, err := g.Durable()
	if err != nil {
		t.Fatal(err)
	}
	if want := log[len(log)-1].Sequence; sequence != want {
		t.Errorf("durable up to %d, folded up to %d", sequence, want)
	}
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = stateOn(t, crashed)
	if at, _ := g.Part.Position(); at != sequence {
		t.Errorf("after the power was lost the state stands at %d, %d was said to be durable", at, sequence)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// The file that names the current generation is never written to: another one takes its place.
func TestCurrentIsReplacedInOneStep(t *testing.T) {
	root := t.TempDir()
	g, err := OpenCurrent(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(root, "second name")
	if err := os.Link(filepath.Join(root, CurrentFile), second); err != nil {
		t.Fatal(err)
	}
	next, err := OpenNext(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.MakeCurrent(root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]*Generation{second: g, filepath.Join(root, CurrentFile): next} {
		if text, err := os.ReadFile(name); err != nil || string(text) != filepath.Base(want.Dir())+"\n" {
			t.Errorf("%s holds %q, %v; want %s", filepath.Base(name), text, err, filepath.Base(want.Dir()))
		}
		if err := want.Close(); err != nil {
			t.Error(err)
		}
	}
}
