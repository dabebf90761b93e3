package projector

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/internal/copystate"
)

// leftIn are the files that a test left in the states that were put aside, in their order; "" is
// for one with none.
func leftIn(t *testing.T, root string) (names []string) {
	t.Helper()
	for _, dir := range must[[]string](t)(fold.Aside(nil, root)) {
		name := ""
		if paths := must[[]string](t)(filepath.Glob(filepath.Join(dir, "left-*"))); len(paths) > 0 {
			name = filepath.Base(paths[0])
		}
		names = append(names, name)
	}
	return names
}

// spoil has the next start find a state corrupt that lies in a partition's root.
func spoil(t *testing.T, root, name string) {
	t.Helper()
	generation := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(root, fold.CurrentFile)))))
	writeFile(t, filepath.Join(root, generation), "CORRUPT", "planted")
	writeFile(t, filepath.Join(root, generation), name, "")
}

// A state that a start finds corrupt is kept through further failures, until the one that was
// folded in its place is complete and proven.
func TestBadStateIsKeptThroughFurtherFailures(t *testing.T) {
	log := &slowLog{testLog: openLog(t, 1), goOn: make(chan struct{})}
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	want, root := r.digests(t), r.workers[0].root
	r.stop()
	log.wait.Store(true)
	for n, aside := range [][]string{{"left-0"}, {"left-0", "left-1"}, {"left-0", "left-2"}} {
		spoil(t, root, aside[len(aside)-1])
		r = start(t, log, o)
		if got := leftIn(t, root); !slices.Equal(got, aside) {
			t.Errorf("after %d failures, aside are %q, want %q", n+1, got, aside)
		}
		r.stop()
	}
	close(log.goOn)
	r = start(t, log, o)
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	eventually(t, "what was put aside is removed", func() bool { return len(leftIn(t, root)) == 0 })
}

// spoiltFS is a disk that spoils the tables that are written to it, as long as that is wanted.
type spoiltFS struct {
	vfs.FS
	t    *testing.T
	bad  atomic.Bool
	made atomic.Int32
}

func (s *spoiltFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".sst") || !s.bad.Load() {
		return f, err
	}
	return spoiltFile{f, s, name}, nil
}

type spoiltFile struct {
	vfs.File
	on   *spoiltFS
	path string
}

func (f spoiltFile) Close() error {
	err := f.File.Close()
	flipIn(f.on.t, f.path, 0.1)
	f.on.made.Add(1)
	return err
}

// A start reads the new state back before it removes the old one, and so does one that finds it
// complete already.
func TestStartProvesTheNewStateBeforeTheOldIsRemoved(t *testing.T) {
	log := openLog(t, 1)
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	disk := &spoiltFS{FS: vfs.Default, t: t}
	o := Options{Dir: t.TempDir(), FS: disk}
	r := start(t, log, o)
	r.caughtUp()
	must[uint64](t)(r.Durable(0))
	want, root := r.digests(t), r.workers[0].root
	r.stop()

	spoil(t, root, "left-0")
	disk.bad.Store(true)
	r = start(t, log, o)
	eventually(t, "the new one is found bad, too", func() bool { return r.Stats()[0].Corruptions > 1 })
	if got := leftIn(t, root); len(got) == 0 || got[0] != "left-0" {
		t.Errorf("aside are %q, and the first is gone", got)
	}
	_ = r.wait()
	_ = r.Close()
	if disk.made.Load() == 0 {
		t.Fatal("nothing was spoilt")
	}
	disk.bad.Store(false)
	r = start(t, log, o)
	r.caughtUp()
	eventually(t, "what was put aside is removed", func() bool { return len(leftIn(t, root)) == 0 })
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	r.stop()

	// The process ended after the new one was complete, and before that was proven.
	for _, bad := range []bool{true, false} {
		old := filepath.Join(root, "aside-000001")
		if err := os.MkdirAll(old, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, old, "left-0", "")
		if bad {
			for _, table := range must[[]string](t)(filepath.Glob(filepath.Join(root, "0*", "*.sst"))) {
				flipIn(t, table, 0.1)
			}
			disk.bad.Store(true)
			r = start(t, log, o)
			eventually(t, "it is found bad", func() bool { return r.Stats()[0].Corruptions > 0 })
			if got := leftIn(t, root); len(got) == 0 || got[0] != "left-0" {
				t.Errorf("aside are %q, and the first is gone", got)
			}
			_ = r.wait()
			_ = r.Close()
			disk.bad.Store(false)
		}
		r = start(t, log, o)
		eventually(t, "what was put aside is removed", func() bool { return len(leftIn(t, root)) == 0 })
		r.stop()
	}
}

// A state that is corrupt and stands beyond the log may be all there is of what the log lost: it is
// kept, though another one is complete.
func TestBadStateBeyondTheLogIsKept(t *testing.T) {
	log, shorter := openLog(t, 1), openLog(t, 1)
	for _, l := range []*testLog{log, shorter} {
		l.Group(3)
	}
	log.Put(5, burst(0, 40, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	root := r.workers[0].root
	r.stop()
	spoil(t, root, "left-0")
	r = start(t, shorter, o)
	r.caughtUp()
	eventually(t, "it is kept", func() bool {
		return len(must[[]string](t)(filepath.Glob(filepath.Join(root, KeptPrefix+"*", "left-0")))) == 1
	})
	r.stop()
	if got := leftIn(t, root); len(got) > 0 {
		t.Errorf("aside are %q", got)
	}
}

// A copy that leaves, and comes back, takes nothing along that is kept.
func TestKeptStatesStayWhenPartitionsMove(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(5, burst(0, 10, 3)...)
	o := Options{Dir: t.TempDir(), Sparse: true}
	r := start(t, log, Options{Dir: o.Dir})
	r.caughtUp()
	want, root := r.digests(t), r.workers[0].root
	r.stop()
	kept := filepath.Join(root, KeptPrefix+"1")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, kept, "left", "")
	r = start(t, log, o)
	there := func() {
		t.Helper()
		if _, err := os.Stat(filepath.Join(kept, "left")); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := r.DropCopy(0); err != nil {
			t.Fatal(err)
		}
		there()
		r.bring(0)
		there()
	}
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	if err := r.DropCopy(0); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = start(t, log, o)
	there()
	if r.workers[0].copyState() != copystate.Absent {
		t.Error("what is kept is taken for a state")
	}
}
