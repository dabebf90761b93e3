package store_test

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections/store"
)

// Whatever bit of whatever file is another one, the store has the state of one of its checkpoints
// or says that it is corrupt; it never ends the process, nor takes damaged bytes for state. (Of a
// damaged manifest Pebble believes what comes before the damage, which is an earlier checkpoint:
// the fold goes on from its position.)
func TestCorruptFilesAreToldAndNeverBelieved(t *testing.T) {
	disk := vfs.NewMem()
	s := openTables(t, disk)
	p := part(t, s)
	log := example(1)
	states := []map[string]string{{}}
	for len(log) > 0 { // several tables
		n := min(len(log), 40)
		fold(t, p, log[:n])
		commit(t, s, p)
		log = log[n:]
		states = append(states, contents(t, s))
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	corrupt := 0
	for _, name := range names {
		for range 60 {
			damaged := vfs.NewMem()
			if ok, err := vfs.Clone(disk, damaged, dir, dir); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if !flip(t, damaged, disk.PathJoin(dir, name), random) {
				break
			}
			got, err := readAllOf(damaged)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				corrupt++
			case err != nil:
				t.Errorf("%s: %v does not say that it is corrupt", name, err)
			case err == nil && !slices.ContainsFunc(states, func(s map[string]string) bool { return maps.Equal(s, got) }):
				t.Errorf("%s: %d keys of no checkpoint, and no error", name, len(got))
			}
		}
	}
	if corrupt < 50 {
		t.Errorf("only %d corruptions were found", corrupt)
	}
}

// flip changes a bit of a file; not if it is empty.
func flip(t *testing.T, fs vfs.FS, path string, random *rand.Rand) bool {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		return false // a directory
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return false
	}
	b[random.IntN(len(b))] ^= 1 << random.IntN(8)
	out, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.Write(b)
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}

// readAllOf opens a store and reads all of it, by scan and one by one.
func readAllOf(fs vfs.FS) (map[string]string, error) {
	s, err := store.Open(dir, store.Options{FS: fs})
	if err != nil {
		return nil, err
	}
	defer s.Discard()
	all := map[string]string{}
	err = s.Scan(nil, func(key, value []byte) error {
		all[string(key)] = string(value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key := range all {
		v, err := s.Get([]byte(key))
		if err != nil {
			return nil, err
		}
		if string(v) != all[key] {
			return nil, errors.New("Get and Scan differ")
		}
	}
	return all, nil
}

// A file that is cut off, empty or gone is corruption too, whatever Pebble calls it: an error at
// the start that nobody takes for it would come at every start.
func TestCutOffFilesAreCorruptOrHarmless(t *testing.T) {
	disk := vfs.NewMem()
	s := openTables(t, disk)
	p := part(t, s)
	states := []map[string]string{{}}
	for log := longExample(); len(log) > 0; log = log[min(len(log), 40):] {
		fold(t, p, log[:min(len(log), 40)])
		commit(t, s, p)
		states = append(states, contents(t, s))
	}
	closeStore(t, s)
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	corrupt := 0
	for _, name := range names {
		for _, keep := range []float64{-1, 0, 0.3, 0.9} { // -1: no file at all
			damaged := vfs.NewMem()
			if ok, err := vfs.Clone(disk, damaged, dir, dir); !ok || err != nil {
				t.Fatal(ok, err)
			}
			cut(t, damaged, damaged.PathJoin(dir, name), keep)
			got, err := readAllOf(damaged)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				corrupt++
			case err != nil:
				t.Errorf("%s cut to %v: %v does not say that it is corrupt", name, keep, err)
			case !slices.ContainsFunc(states, func(s map[string]string) bool { return maps.Equal(s, got) }):
				t.Errorf("%s cut to %v: %d keys of no checkpoint, and no error", name, keep, len(got))
			}
		}
	}
	if corrupt < 10 {
		t.Errorf("only %d corruptions were found", corrupt)
	}
}

// cut keeps the first part of a file; nothing at all of it if that is negative.
func cut(t *testing.T, fs vfs.FS, path string, keep float64) {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return // a directory
	}
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	if keep < 0 {
		return
	}
	out, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.Write(b[:int(keep*float64(len(b)))])
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}
