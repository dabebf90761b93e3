package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A manifest that Pebble wrote is whole, also one whose last write was cut off anywhere; no flipped
// bit passes, nor one in the length of a chunk that makes it look cut off.
func TestNoFlippedBitOfAManifestPasses(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := errors.Join(db.Set([]byte{byte(i)}, make([]byte, 100), nil), db.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wholeManifest(vfs.Default, dir); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	data, err := os.ReadFile(paths[len(paths)-1])
	if err != nil {
		t.Fatal(err)
	}
	for cut := range data {
		if at := damagedChunk(data[:cut]); at >= 0 {
			t.Fatalf("cut off at %d of %d it is damaged at %d", cut, len(data), at)
		}
	}
	for bit := range 8 * len(data) {
		data[bit/8] ^= 1 << (bit % 8)
		if damagedChunk(data) < 0 {
			t.Errorf("bit %d of byte %d flipped: passes", bit%8, bit/8)
		}
		data[bit/8] ^= 1 << (bit % 8)
	}
}
