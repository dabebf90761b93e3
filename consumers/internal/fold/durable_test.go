package fold

import (
	"errors"
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
	o := Options{FS: currentFS{vfs.Default, t}}
	g, err := OpenCurrent(root, o)
	if err != nil {
		t.Fatal(err)
	}
	next, err := OpenNext(root, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.MakeCurrent(root); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, CurrentFile)); err != nil || string(text) != filepath.Base(next.Dir())+"\n" {
		t.Errorf("%s holds %q, %v; want %s", CurrentFile, text, err, filepath.Base(next.Dir()))
	}
	if err := errors.Join(g.Close(), next.Close()); err != nil {
		t.Error(err)
	}
}

// currentFS notices a CURRENT that is gone, or not whole, between two steps.
type currentFS struct {
	vfs.FS
	t *testing.T
}

func (fs currentFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if filepath.Base(name) == CurrentFile {
		fs.t.Errorf("%s is written in place", name)
	}
	return fs.FS.Create(name, category)
}

func (fs currentFS) Remove(name string) error {
	if filepath.Base(name) == CurrentFile {
		fs.t.Errorf("%s is removed", name)
	}
	return fs.FS.Remove(name)
}
