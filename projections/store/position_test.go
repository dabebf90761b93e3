package store_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/projections/store"
)

// Whatever keeps a store from being opened is in its files, unless the host says otherwise: it is
// corrupt, and can be folded again.
func TestStoreThatCannotBeOpenedIsCorrupt(t *testing.T) {
	at := filepath.Join(t.TempDir(), "state")
	open := func() (*store.Store, error) {
		return store.Open(at, store.Options{Logger: slog.New(slog.DiscardHandler)})
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	p := part(t, s)
	fold(t, p, example(1))
	commit(t, s, p)
	wantSequence, wantFingerprint := p.Position()
	closeStore(t, s)
	if sequence, fingerprint, err := store.Position(at); err != nil || sequence != wantSequence || fingerprint != wantFingerprint {
		t.Errorf("it stands at %d %x, %v, want %d %x", sequence, fingerprint, err, wantSequence, wantFingerprint)
	}
	names, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	corrupt := 0
	for _, name := range names {
		path := filepath.Join(at, name.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, harm := range map[string]func() error{
			"gone":    func() error { return os.Remove(path) },
			"shorter": func() error { return os.Truncate(path, int64(len(content)/2)) },
		} {
			whole := filepath.Join(t.TempDir(), "whole")
			if err := os.CopyFS(whole, os.DirFS(at)); err != nil {
				t.Fatal(err)
			}
			if err := harm(); err != nil {
				t.Fatal(err)
			}
			_, _, looked := store.Position(at)
			s, err := open()
			if err == nil {
				err = s.Discard()
			} else if corrupt++; !errors.Is(err, store.ErrCorrupt) || !errors.Is(looked, store.ErrCorrupt) {
				t.Errorf("%s is %s: %v, %v", name.Name(), what, err, looked)
			}
			if err != nil && !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s is %s: %v", name.Name(), what, err)
			}
			if err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(whole))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if corrupt < 4 {
		t.Errorf("only %d damages kept it from being opened", corrupt)
	}
	// A directory in the place of the store's lock is the host's affair.
	lock := filepath.Join(at, "LOCK")
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), lock) {
		t.Errorf("a lock that cannot be taken: %v", err)
	}
}
