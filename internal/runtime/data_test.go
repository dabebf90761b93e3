package runtime

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func TestSecretIsMadeOnceAndKeptToTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.key")
	first, err := secretFile(path, 24)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := hex.DecodeString(first); err != nil || len(raw) != 24 {
		t.Errorf("secret of %d bytes, %v", len(raw), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if again, err := secretFile(path, 24); again != first || err != nil {
		t.Errorf("another secret, %v", err)
	}
	other, err := secretFile(filepath.Join(t.TempDir(), "admin.key"), 24)
	if err != nil || other == first {
		t.Errorf("the same secret for two, %v", err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

func TestSecretOfAnOperatorIsTakenAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.key")
	if err := os.WriteFile(path, []byte("  my own key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secretFile(path, 24); got != "my own key" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSecretThatCannotBeKeptIsAnError(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "admin.key")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secretFile(empty, 24); got != "" || err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("an empty file: %q, %v", got, err)
	}
	half := filepath.Join(t.TempDir(), tokenKeyFile)
	if err := os.WriteFile(half, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secretFile(half, 32); got != "" || err == nil || secretProblem(half) == "" {
		t.Errorf("half of a key for tokens: %q, %v", got, err)
	}
	for _, damaged := range []string{"short", "0123456789\x00\x00\x00cdef", "0123456789\xffabcdef"} {
		path := filepath.Join(t.TempDir(), "admin.key")
		if err := os.WriteFile(path, []byte(damaged+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secretFile(path, 24); got != "" || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: taken for %q, %v", damaged, got, err)
		}
	}
	if got, err := secretFile(filepath.Join(t.TempDir(), "none", "admin.key"), 24); got != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %q, %v", got, err)
	}
	if got, err := secretFile(t.TempDir(), 24); got != "" || err == nil {
		t.Errorf("a directory: %q, %v", got, err)
	}
}

func TestDataDirectoryIsForOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	lock, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v (%v), want only its owner's", info.Mode(), err)
	}
	if second, err := openData(dir); second != nil || !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v, %v", second, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if lock, err = openData(dir); err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// --min-free 0B keeps nothing in reserve; what is not set keeps the log's default.
func TestNoReserveIsNone(t *testing.T) {
	cfg := config.Default()
	if got := logConfig(cfg, nil).MinFree; got != 64<<20 {
		t.Errorf("by default %d", got)
	}
	cfg.Log.MinFree = 0
	if got := logConfig(cfg, nil).MinFree; got != eventlog.NoMinFree {
		t.Errorf("with 0 %d", got)
	}
}

// A node does not start on the data directory of another one, and leaves it as it is; on one
// without a note it does, as an earlier version leaves it, and notes whose it is.
func TestDataDirectoryOfAnotherNodeIsRefused(t *testing.T) {
	a := startNodes(t, 1)[0]
	cfg := a.Server.cfg
	a.stop()
	note := filepath.Join(cfg.Data, nodeFile)
	other := cfg
	other.Cluster.Node = "b"
	for range 2 { // it does not become its by being tried
		_, err := Build(testContext(t), other, natstest.Logger(t), "test")
		if !errors.Is(err, errOfAnotherNode) || !strings.Contains(err.Error(), `node "a"`) || !strings.Contains(err.Error(), cfg.Data) {
			t.Fatalf("node b on the data of a: %v", err)
		}
	}
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	start(t, cfg).stop()
	if text, err := os.ReadFile(note); err != nil || string(text) != "a\n" {
		t.Errorf("it is noted to be of %q, %v", text, err)
	}
}
