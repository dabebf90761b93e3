package backup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a backup that was cut off after its manifest left, and what one before it left in part, goes
// with the next one; what the manifest names stays.
func TestWhatTheManifestDoesNotNameIsRemoved(t *testing.T) {
	dir := t.TempDir()
	m := &Manifest{Streams: []Stream{{Stream: "RECEIPTS_0", Blocks: []Block{{Index: 2}}}}, Secrets: []File{{Name: "token.key"}}}
	for _, name := range []string{blockName("RECEIPTS_0", 1), blockName("RECEIPTS_0", 2), blockName("RECEIPTS_0", 3) + ".tmp", secretsDir + "/admin.key", secretsDir + "/token.key"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeUnnamed(dir, m); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			left = append(left, filepath.ToSlash(name))
		}
		return err
	})
	want := []string{blockName("RECEIPTS_0", 2), secretsDir + "/token.key"}
	slices.Sort(want)
	if slices.Sort(left); err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, want %q, %v", left, want, err)
	}
}
