package runtime

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/config"
)

// asked is the answer to a request for a backup.
func asked(t *testing.T, base, body string) *http.Response {
	t.Helper()
	answer, err := http.Post(base+"/v1/admin/backup", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// taken is a backup in a directory.
func taken(t *testing.T, base string) *backup.Backup {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	d, err := backup.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Receive(testContext(t), asked(t, base, "{}").Body, nil); err != nil {
		t.Fatal(err)
	}
	b, err := backup.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A state that is not the one of the backup is found, and nothing is put where it was to be; of a
// log whose start is gone it is said that nothing could be compared.
func TestRestoreProvesItself(t *testing.T) {
	r, base := serveAdmin(t, testConfig(t))
	for range 5 {
		r.append(sends(app, "g", 2)...)
	}
	r.caughtUp()
	restore := func(b *backup.Backup) (Restored, config.Config, error) {
		cfg := testConfig(t)
		cfg.Data = filepath.Join(t.TempDir(), "restored")
		done, err := Restore(testContext(t), b, cfg, slog.New(slog.DiscardHandler), nil)
		return done, cfg, err
	}
	b := taken(t, base)
	if done, cfg, err := restore(b); err != nil || !done.Proven || done.Data != cfg.Data || done.Log == b.Log {
		t.Errorf("%+v, %v", done, err)
	} else if info, err := os.Stat(cfg.Data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the restored directory is for others too: %v, %v", info.Mode(), err)
	}
	b.State[0].Digest = "another"
	done, cfg, err := restore(b)
	if _, missing := os.Stat(cfg.Data); !errors.Is(err, ErrNotProven) || done.Proven || missing == nil {
		t.Errorf("another digest: %+v, %v, %v", done, err, missing)
	}
	for k := range r.Log.Partitions() {
		_, last, err := r.Log.Bounds(testContext(t), k)
		if err == nil {
			err = r.Log.Trim(testContext(t), k, last)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done, cfg, err = restore(taken(t, base))
	if _, missing := os.Stat(cfg.Data); err != nil || done.Proven || !strings.Contains(done.Unproven, "archive") || missing != nil {
		t.Errorf("a trimmed log: %+v, %v, %v", done, err, missing)
	}
}

func TestBackupIsRefusedForAReason(t *testing.T) {
	_, base := serveAdmin(t, testConfig(t))
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		"nothing":         {http.StatusBadRequest, "bad_request"},
		`{"log":"other"}`: {http.StatusConflict, "foreign_log"},
	} {
		answer := asked(t, base, body)
		if text, err := io.ReadAll(answer.Body); answer.StatusCode != want.status || !strings.Contains(string(text), want.code) {
			t.Errorf("%s: %d, %s, %v", body, answer.StatusCode, text, err)
		}
	}
}
