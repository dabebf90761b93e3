package fold

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// What was made durable is there after a power loss, with every directory that it lies in.
func TestNewStateIsThereAfterPowerLoss(t *testing.T) {
	disk := vfs.NewCrashableMem()
	o := Options{CacheBytes: 1, FS: disk, Logger: natstest.Logger(t)}
	const root = "data/state/p000"
	if err := disk.MkdirAll("data", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syncDir(disk, "/"); err != nil {
		t.Fatal(err)
	}
	g, err := OpenCurrent(root, o)
	if err != nil {
		t.Fatal(err)
	}
	foldAll(t, g, history.Logs().Example(1), func() error { return nil })
	want, err := g.Durable()
	if err != nil {
		t.Fatal(err)
	}
	o.FS = disk.CrashClone(vfs.CrashCloneCfg{})
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if g, err = OpenCurrent(root, o); err != nil {
		t.Fatal(err)
	}
	if at, _ := g.Part.Position(); at != want {
		t.Errorf("the state is at entry %d, and was durable at entry %d", at, want)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}
