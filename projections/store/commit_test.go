package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Checkpoints that wait in memory and checkpoints that become tables may follow each other in any
// order; a large one is durable at once, with all before it.
func TestTablesAreDurableAtOnce(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := example(3)
	third := len(log) / 3
	s := open(t, disk)
	p := part(t, s)
	fold(t, p, log[:third])
	commit(t, s, p) // in memory
	closeStore(t, s)
	s = openTables(t, disk)
	p = part(t, s)
	fold(t, p, log[:2*third])
	commit(t, s, p)
	want, _ := digest(t, s)
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	closeStore(t, s)

	s = open(t, crashed)
	defer closeStore(t, s)
	if got, _ := digest(t, s); got != want {
		t.Errorf("state %s, committed was %s", got, want)
	}
	if at := position(t, s); at != log[2*third-1].Sequence {
		t.Errorf("position %d, committed was %d", at, log[2*third-1].Sequence)
	}
	// What waits in memory comes after what was in the tables.
	p = part(t, s)
	fold(t, p, log)
	commit(t, s, p)
	if at := position(t, s); at != log[len(log)-1].Sequence {
		t.Errorf("position %d, committed was %d", at, log[len(log)-1].Sequence)
	}
}

// Both ways lead to the same state.
func TestTablesHoldWhatMemoryHolds(t *testing.T) {
	log := example(5)
	var sums [2]string
	for i, open := range []func() (string, int){
		func() (string, int) {
			s := open(t, vfs.NewMem())
			defer closeStore(t, s)
			p := part(t, s)
			fold(t, p, log)
			commit(t, s, p)
			return digest(t, s)
		},
		func() (string, int) {
			s := openTables(t, vfs.NewMem())
			defer closeStore(t, s)
			p := part(t, s)
			for n := range log {
				fold(t, p, log[:n+1])
				commit(t, s, p)
			}
			return digest(t, s)
		},
	} {
		sums[i], _ = open()
	}
	if sums[0] != sums[1] {
		t.Errorf("in memory %s, in tables %s", sums[0], sums[1])
	}
}

// A table that cannot be written fails the commit, leaves nothing behind, and the store takes no
// other.
func TestFailedTableEndsTheStore(t *testing.T) {
	disk := vfs.NewMem()
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "checkpoint-") {
			return errorfs.ErrInjected
		}
		return nil
	})}
	s := openTables(t, errorfs.Wrap(disk, broken))
	log := example(7)
	half := len(log) / 2
	p := part(t, s)
	fold(t, p, log[:half])
	commit(t, s, p)
	fold(t, p, log)
	c, err := p.Capture()
	if err != nil {
		t.Fatal(err)
	}
	broken.On()
	if err := s.Commit(c); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("a commit to a broken disk returns %v", err)
	}
	broken.Off()
	if err := s.Commit(c); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("the next commit returns %v", err)
	}
	if err := s.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("Close returns %v", err)
	}
	noTablesLeft(t, disk)
	s = open(t, disk)
	defer closeStore(t, s)
	if at := position(t, s); at != log[half-1].Sequence {
		t.Errorf("position %d, the last that was written is %d", at, log[half-1].Sequence)
	}
}

// What a crash has left of a checkpoint that was being written is removed at the next start.
func TestLeftOverTablesAreRemoved(t *testing.T) {
	disk := vfs.NewMem()
	closeStore(t, open(t, disk))
	f, err := disk.Create(disk.PathJoin(dir, "checkpoint-0"), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, open(t, disk))
	noTablesLeft(t, disk)
}

func noTablesLeft(t *testing.T, disk vfs.FS) {
	t.Helper()
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "checkpoint-") {
			t.Errorf("%s is left", name)
		}
	}
}
