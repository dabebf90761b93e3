package store_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections/store"
)

// failingDirs is a file system whose directories cannot be synced any more, once it is told so.
type failingDirs struct {
	vfs.FS
	failing *bool
}

type failingDir struct {
	vfs.File
	failing *bool
}

func (fs failingDirs) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return failingDir{f, fs.failing}, nil
}

func (d failingDir) Sync() error {
	if *d.failing {
		return syscall.ENOSPC
	}
	return d.File.Sync()
}

// A directory that cannot be synced ends the store's checkpoints with its reason, not the process,
// and what was durable before is.
func TestDirectoryThatCannotBeSyncedEndsTheStore(t *testing.T) {
	disk, failing := vfs.NewMem(), false
	fs := failingDirs{disk, &failing}
	s := openTables(t, fs)
	p := part(t, s)
	log := example(1)
	fold(t, p, log[:len(log)/2])
	commit(t, s, p)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	at, _ := p.Position()
	failing = true
	fold(t, p, log)
	c, err := p.Capture()
	if err == nil {
		err = errors.Join(s.Commit(c), s.Flush())
	}
	if !errors.Is(err, syscall.ENOSPC) || s.Failed() == nil {
		t.Errorf("a checkpoint without a directory: %v, %v", err, s.Failed())
	}
	failing = false
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(dir, store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	if got, _ := part(t, s).Position(); got < at {
		t.Errorf("it stands at %d, %d was durable", got, at)
	}
}
