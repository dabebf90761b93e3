package fold

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// What is kept is removed by nobody, and does not hide what was kept before.
func TestKeptGenerationsStay(t *testing.T) {
	root := t.TempDir()
	for round := 1; round <= 2; round++ {
		aside := filepath.Join(root, asidePrefix+"000001")
		if err := os.MkdirAll(filepath.Join(aside, "content"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Keep(nil, asideIn(t, nil, root)); err != nil {
			t.Fatal(err)
		}
		if err := Discard(nil, []string{aside}); err != nil {
			t.Fatal(err)
		}
		if left := asideIn(t, nil, root); len(left) > 0 {
			t.Errorf("aside are %v still", left)
		}
		kept, err := filepath.Glob(filepath.Join(root, KeptPrefix+"*", "content"))
		if err != nil || len(kept) != round {
			t.Errorf("round %d: kept are %q, %v", round, kept, err)
		}
	}
	if numbers, err := Generations(nil, root); err != nil || len(numbers) > 0 {
		t.Errorf("generations: %v, %v", numbers, err)
	}
}

func asideIn(t *testing.T, disk vfs.FS, root string) []string {
	t.Helper()
	dirs, err := Aside(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// The first that was put aside stays, of the others the latest, and no name comes again before all
// of them are gone.
func TestFirstAndLatestStayAside(t *testing.T) {
	root := t.TempDir()
	var seen []string
	for n := range 4 {
		dir := filepath.Join(root, generationName(1))
		if err := os.MkdirAll(filepath.Join(dir, generationName(n)), 0o700); err != nil {
			t.Fatal(err)
		}
		aside, err := putAside(vfs.Default, root, dir)
		if err != nil || slices.Contains(seen, aside) {
			t.Fatalf("put aside as %s, %v; there were %v", aside, err, seen)
		}
		seen = append(seen, aside)
		want := []string{seen[0]}
		if n > 0 {
			want = append(want, aside)
		}
		if got := asideIn(t, nil, root); !slices.Equal(got, want) {
			t.Errorf("aside are %v, want %v", got, want)
		}
		if _, err := os.Stat(filepath.Join(seen[0], generationName(0))); err != nil {
			t.Errorf("the first is another one: %v", err)
		}
	}
}

// Whatever takes the place of a state, and wherever a crash comes: the old one is there until
// somebody removes it.
func TestReplacedStateIsAsideWhereverACrashComes(t *testing.T) {
	log := history.Logs().Example(1)
	for name, replace := range map[string]func(root string, old *Generation, o Options) error{
		"before it is put aside": func(root string, old *Generation, o Options) error {
			g, err := OpenNext(root, o)
			if err == nil {
				err = g.MakeCurrent(root)
			}
			return err
		},
		"later": func(root string, old *Generation, o Options) error {
			_, err := Replace(root, old, o)
			return err
		},
		"after another one has arrived": func(root string, old *Generation, o Options) error {
			g, err := OpenNext(root, o)
			if err == nil {
				err = g.Close()
			}
			if err == nil {
				err = o.FS.Rename(g.dir, root+"/arrived")
			}
			if err == nil {
				_, err = Install(root, root+"/arrived", old, o)
			}
			return err
		},
		"before the pointer is on the disk": func(root string, old *Generation, o Options) error {
			g, err := OpenNext(root, o)
			if err == nil {
				foldAll(t, g, log[:1], func() error { return nil })
				_, err = g.Durable()
			}
			if err == nil {
				err = errors.Join(o.FS.Remove(root+"/"+CurrentFile), syncDir(o.FS, root))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			o := Options{CacheBytes: 1, FS: disk, Logger: natstest.Logger(t)}
			const root = "data/state/p000"
			if err := errors.Join(disk.MkdirAll("data", 0o700), syncDir(disk, "/")); err != nil {
				t.Fatal(err)
			}
			old, err := OpenCurrent(root, o)
			if err != nil {
				t.Fatal(err)
			}
			foldAll(t, old, log, func() error { return nil })
			want, err := old.Durable()
			if err != nil {
				t.Fatal(err)
			}
			if err := replace(root, old, o); err != nil {
				t.Fatal(err)
			}
			after := disk.CrashClone(vfs.CrashCloneCfg{})
			o.FS = after
			g, err := OpenCurrent(root, o)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := g.Part.Position()
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			aside := asideIn(t, after, root)
			if len(aside) != 1 {
				t.Fatalf("aside are %v", aside)
			}
			if at == want {
				return // it is in use
			}
			if g, err = Open(aside[0], o); err != nil {
				t.Fatal(err)
			}
			if at, _ := g.Part.Position(); at != want {
				t.Errorf("aside is a state at entry %d, want %d", at, want)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What is kept outlives its partition, and is not in the way of those that come and fork.
func TestKeptGenerationsOutliveTheirPartition(t *testing.T) {
	o := Options{CacheBytes: 1, Logger: natstest.Logger(t)}
	roots := []string{filepath.Join(t.TempDir(), "state", "p000"), filepath.Join(t.TempDir(), "state", "p001")}
	kept := func(when string) {
		t.Helper()
		for _, root := range roots {
			if _, err := os.Stat(filepath.Join(root, KeptPrefix+"1", "mark")); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	for _, root := range roots {
		dir := filepath.Join(root, KeptPrefix+"1")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "mark"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	parent, err := OpenCurrent(roots[0], o)
	if err != nil {
		t.Fatal(err)
	}
	foldAll(t, parent, history.Logs().Example(1), func() error { return nil })
	o.Partition = 1
	if err := errors.Join(Fork(roots[1], parent, o), parent.Close()); err != nil {
		t.Fatal(err)
	}
	kept("after a fork")
	for _, root := range roots {
		if err := Clear(nil, root); err != nil {
			t.Fatal(err)
		}
		if list, err := os.ReadDir(root); Exists(nil, root) || err != nil || len(list) != 1 {
			t.Errorf("cleared, there are %v, %v", list, err)
		}
		if err := Clear(nil, root); err != nil {
			t.Errorf("cleared again: %v", err)
		}
	}
	kept("after they have left")
	if err := errors.Join(os.RemoveAll(filepath.Join(roots[0], KeptPrefix+"1")), Clear(nil, roots[0]), Clear(nil, roots[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(roots[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of what has left and kept nothing there is: %v", err)
	}
}
