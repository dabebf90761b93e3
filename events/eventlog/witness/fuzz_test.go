package witness

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzRead: of two files, whatever is in them, one that was written is read, or nothing, or it is
// an error; and what is read is what is written again.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	w, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	for last := range uint64(2) {
		m := Attestation{Stream: "A", Created: time.Unix(1_700_000_000, 7).UTC(), Last: last + 1, At: 1, Fingerprint: 1 << 63, Trimmed: 1}
		if err := w.Write(Attestations{"A": m}); err != nil {
			f.Fatal(err)
		}
	}
	var texts [2][]byte
	for i, name := range names {
		if texts[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(texts[0], texts[1])
	f.Add(texts[0][:40], texts[1])
	f.Add([]byte("{}\n"+checksum("{}")), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		dir := t.TempDir()
		for i, text := range [][]byte{first, second} {
			if err := os.WriteFile(filepath.Join(dir, names[i]), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file, err := read(dir)
		if err != nil {
			return
		}
		attestations := file.Attestations()
		attestations["added"] = Attestation{Stream: "added", Last: 9}
		if err := file.Write(attestations); err != nil {
			t.Skip() // a time that JSON cannot say
		}
		again, err := Read(dir)
		same := maps.EqualFunc(again, attestations, func(a, b Attestation) bool {
			created := a.Created.Equal(b.Created)
			a.Created, b.Created = time.Time{}, time.Time{}
			return created && a == b
		})
		if err != nil || !same {
			t.Errorf("wrote %+v, read %+v, %v", attestations, again, err)
		}
	})
}
