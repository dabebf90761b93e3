package witness

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// The names of the files, and that of the directory, are durable as soon as they are needed. To
// write a file again takes no sync of its directory.
func TestNamesOfFilesAreDurable(t *testing.T) {
	root := t.TempDir()
	var synced []string
	syncDir = func(dir string) error {
		name, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		synced = append(synced, name)
		return atomicfile.SyncDir(dir)
	}
	defer func() { syncDir = atomicfile.SyncDir }()
	f, err := Open(filepath.Join(root, "witness"))
	if err != nil {
		t.Fatal(err)
	}
	for last, want := range [][]string{{".", "witness"}, {"witness"}, nil, nil} {
		if err := f.Write(Attestations{"A": {Stream: "A", Last: uint64(last + 1)}}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(synced, want) {
			t.Errorf("write %d: synced the directories %q, want %q", last, synced, want)
		}
		synced = nil
	}
}
