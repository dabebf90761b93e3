package snapshot

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/receiptd/receiptd/projections/store"
)

// FuzzSnapshotManifest: whatever is stored as the manifest of a snapshot, it is refused as damaged,
// or names files that can lie in one directory, each once, and is that of the snapshot that was
// meant.
func FuzzSnapshotManifest(f *testing.F) {
	k := Kept{Sequence: 9, Digest: "d"}
	add := func(files ...File) {
		text, err := json.Marshal(manifest{
			Version: manifestVersion, Partitions: 2, Made: time.Unix(1_700_000_000, 0).UTC(), StateInfo: store.StateInfo{Sequence: 9, Digest: "d", Level: 1}, Files: files,
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	add(File{Name: "000004.sst", Object: "p0/1", NUID: "n", Size: 7, SHA256: "00"}, File{Name: "marker.manifest.000001.MANIFEST-000001"})
	add(File{Name: "a", Size: 1}, File{Name: "a", Size: 2})
	add(File{Name: "../a"}, File{Name: "a", Size: -1})
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text, k)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if m.Sequence != k.Sequence || m.Digest != k.Digest || m.Level < 1 {
			t.Errorf("%q: %+v", text, m.StateInfo)
		}
		seen := map[string]bool{}
		for _, x := range m.Files {
			path := filepath.Join("dir", x.Name)
			if filepath.Dir(path) != "dir" || seen[path] || x.Size < 0 {
				t.Errorf("%q: a file %+v", text, x)
			}
			seen[path] = true
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseManifest(again, k); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%q is written as %q, which is %+v, %v", text, again, got, err)
		}
	})
}

// FuzzSnapshotNote: whatever is noted of the snapshots of a partition, it is damaged, or some
// snapshots that can be looked for, and are noted the same way again.
func FuzzSnapshotNote(f *testing.F) {
	for _, n := range []note{
		{},
		{Kept: []Kept{{Sequence: 9, Digest: "d", Manifest: File{Name: "manifest", Size: 3}}, {Sequence: 7}}},
		{Kept: []Kept{{Sequence: 7, Bytes: -1}, {Sequence: 9}, {}}},
		{Kept: []Kept{{Sequence: 7, Manifest: File{Size: -1}}}},
	} {
		text, err := json.Marshal(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseNote(text)
		if err != nil {
			if !errors.Is(err, errDamaged) || n.Kept != nil {
				t.Errorf("%q: %+v, %v", text, n, err)
			}
			return
		}
		for _, k := range n.Kept {
			if k.Manifest.Size < 0 || k.Bytes < 0 {
				t.Errorf("%q: %+v", text, k)
			}
		}
		again, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseNote(again); err != nil || !reflect.DeepEqual(got, n) {
			t.Errorf("%q is written as %q, which is %+v, %v", text, again, got, err)
		}
	})
}
