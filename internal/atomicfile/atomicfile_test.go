package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFileHasOldContentOrNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"first", "second and longer", "3"} {
		if err := Write(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// What cannot be written leaves the content alone.
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("fourth"), 0o600); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "3" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
}

func TestLeftOverTemporaryFileIsOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path+".tmp", []byte("half of something long"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(path + ".tmp"); !os.IsNotExist(err) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

func TestRenameMovesBetweenDirectories(t *testing.T) {
	root := t.TempDir()
	from, to := filepath.Join(root, "a", "file"), filepath.Join(root, "b", "moved")
	for _, dir := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteSynced(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if err := Rename(from, to); !os.IsNotExist(err) {
		t.Errorf("a file that is gone: %v", err)
	}
}

// The content is durable before the file has its name, and the name before Write returns.
func TestContentAndNameAreSyncedInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var synced []string
	fsync = func(f *os.File) error {
		name, err := filepath.Rel(filepath.Dir(path), f.Name())
		content, readErr := os.ReadFile(path)
		synced = append(synced, name+" while the file is "+string(content))
		return errors.Join(err, readErr, f.Sync())
	}
	defer func() { fsync = (*os.File).Sync }()
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if want := []string{"file.tmp while the file is old", ". while the file is new"}; !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
}

// syncs are the files and directories, below one, that f syncs.
func syncs(t *testing.T, dir string, f func() error) (synced []string) {
	t.Helper()
	fsync = func(f *os.File) error {
		name, err := filepath.Rel(dir, f.Name())
		synced = append(synced, name)
		return errors.Join(err, f.Sync())
	}
	defer func() { fsync = (*os.File).Sync }()
	if err := f(); err != nil {
		t.Error(err)
	}
	return synced
}

// What is made is durable with its name; what is there already has a durable name.
func TestNamesAreSynced(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"directories", func() error { return MkdirAll(in("a/b"), 0o700) }, []string{".", "a"}},
		{"directories that are there", func() error { return MkdirAll(in("a/b"), 0o700) }, nil},
		{"one below them", func() error { return MkdirAll(in("a/b/c"), 0o700) }, []string{"a/b"}},
		{"a new file", func() error { return Append(in("a/f"), []byte("1"), 0o600) }, []string{"a/f", "a"}},
		{"a file that is there", func() error { return Append(in("a/f"), []byte("2"), 0o600) }, []string{"a/f"}},
		{"a rename", func() error { return Rename(in("a/f"), in("a/b/g")) }, []string{"a/b", "a"}},
		{"a tree", func() error { return SyncTree(in("a")) }, []string{"a", "a/b", "a/b/c"}},
	} {
		if got := syncs(t, dir, c.do); !slices.Equal(got, c.want) {
			t.Errorf("%s: synced %q, want %q", c.name, got, c.want)
		}
	}
	if text, err := os.ReadFile(in("a/b/g")); err != nil || string(text) != "12" {
		t.Errorf("appended %q, %v", text, err)
	}
	if err := MkdirAll(in("a/b/g/d"), 0o700); err == nil {
		t.Error("a directory below a file was made")
	}
}
