package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// generation is the name of the current generation in the directory of a partition's state.
func (s *server) generation(dir string) string {
	s.t.Helper()
	name, err := os.ReadFile(filepath.Join(dir, "CURRENT"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// oneGeneration checks that there is soon one generation of every partition's state, the current
// one: what was put aside goes once that is proven, which a start does not wait for.
func (s *server) oneGeneration() {
	s.t.Helper()
	for _, dir := range s.partitions() {
		eventually(s.t, "one generation of "+dir, func() bool {
			list := s.generations(dir)
			return len(list) == 1 && list[0] == s.generation(dir)
		})
	}
}

// partitions are the directories of the partitions' states.
func (s *server) partitions() []string {
	s.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.data, "state", "p*"))
	if err != nil || len(dirs) == 0 {
		s.t.Fatalf("state: %q, %v", dirs, err)
	}
	return dirs
}

// generations are those that lie in a partition's directory, those that were put aside behind the
// others.
func (s *server) generations(dir string) (list []string) {
	s.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			list = append(list, e.Name())
		}
	}
	return list
}

// swap gives a key of a table in partition 0 of a stopped server's state the value of another key;
// each is the only one that contains its text.
func (s *server) swap(table, text, other string) {
	s.t.Helper()
	dir := filepath.Join(s.data, "state", "p000")
	db, err := pebble.Open(filepath.Join(dir, s.generation(dir)), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		s.t.Fatal(err)
	}
	find := func(text string) (key, value []byte) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte(table), UpperBound: []byte{table[0] + 1}})
		if err != nil {
			s.t.Fatal(err)
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			if bytes.Contains(it.Key(), []byte(text)) {
				return bytes.Clone(it.Key()), bytes.Clone(it.Value())
			}
		}
		s.t.Fatalf("no key of table %s contains %q", table, text)
		return nil, nil
	}
	key, value := find(text)
	_, wrong := find(other)
	if bytes.Equal(value, wrong) {
		s.t.Fatalf("%s and %s have the same value", text, other)
	}
	if err := db.Set(key, wrong, pebble.Sync); err != nil {
		s.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// quiet drops what Pebble says.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}
