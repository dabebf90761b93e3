package store_test

import (
	"errors"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/receiptd/receiptd/projections/store"
)

// fullDisk is a disk that can be full for what the rules of Pebble's files call for.
func fullDisk(disk vfs.FS) (vfs.FS, *errorfs.Toggle) {
	full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFilePreallocate, errorfs.OpCreate, errorfs.OpLink:
			if !strings.HasSuffix(op.Path, "CORRUPT") {
				return syscall.ENOSPC
			}
		}
		return nil
	})}
	return errorfs.Wrap(disk, full), full
}

// On a full disk checkpoints wait, those in tables and those in memory alike, and questions are
// answered. With room they go on, as if nothing had been.
func TestFullDiskIsWaitedFor(t *testing.T) {
	for _, tableBytes := range []int{1, 1 << 30} {
		disk := vfs.NewMem()
		fs, full := fullDisk(disk)
		s := openWith(t, store.Options{FS: fs, WaitForRoom: true, TableBytes: tableBytes})
		p := part(t, s)
		log := example(2)
		half := len(log) / 2
		fold(t, p, log[:half])
		commit(t, s, p)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		before := contents(t, s)
		full.On()
		fold(t, p, log[half:])
		done := make(chan error, 1)
		go func() {
			c, err := p.Capture()
			if err == nil {
				err = s.Commit(c)
			}
			if err == nil {
				p.Committed(c)
				err = s.Flush()
			}
			done <- err
		}()
		for deadline := time.Now().Add(30 * time.Second); !s.DiskFull(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing waits for room")
			}
		}
		for range 3 {
			if got := contents(t, s); tableBytes == 1 && !maps.Equal(got, before) {
				t.Error("while the disk is full the state is another one")
			}
			time.Sleep(20 * time.Millisecond) // the checkpoint must not get on meanwhile
		}
		select {
		case err := <-done:
			t.Fatalf("the checkpoint did not wait: %v", err)
		default:
		}
		full.Off()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Failed(); err != nil || s.DiskFull() {
			t.Errorf("afterwards: %v", err)
		}
		want := contents(t, s)
		closeStore(t, s)
		s = open(t, disk)
		if got := contents(t, s); !maps.Equal(got, want) || position(t, s) != log[len(log)-1].Sequence {
			t.Error("the checkpoint that waited is not there")
		}
		closeStore(t, s)
	}
}

// Whoever cannot wait any longer gets the error, and the process goes on.
func TestWaitingForRoomEnds(t *testing.T) {
	for _, tableBytes := range []int{1, 1 << 30} {
		fs, full := fullDisk(vfs.NewMem())
		s := openWith(t, store.Options{FS: fs, WaitForRoom: true, TableBytes: tableBytes})
		p := part(t, s)
		fold(t, p, example(2))
		full.On()
		done := make(chan error, 1)
		go func() {
			c, err := p.Capture()
			if err == nil {
				err = errors.Join(s.Commit(c), s.Flush())
			}
			done <- err
		}()
		for !s.DiskFull() {
			time.Sleep(time.Millisecond)
		}
		s.StopWaiting()
		if err := <-done; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
		_ = s.Discard()
	}
}

// Whoever can do without a state for now does not wait for the room that opening it takes, and it
// is no corruption.
func TestOpenOnlyWithRoom(t *testing.T) {
	disk := vfs.NewMem()
	fs, full := fullDisk(disk)
	full.On()
	o := store.Options{FS: fs, WaitForRoom: true, OnlyWithRoom: true, TableBytes: 1}
	for range 2 {
		if s, err := store.Open("state", o); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("without room: %v, %v", s, err)
		}
	}
	full.Off()
	s, err := store.Open("state", o)
	if err != nil {
		t.Fatal(err)
	}
	p := part(t, s)
	fold(t, p, example(2))
	full.On()
	done := make(chan struct{})
	go func() { defer close(done); commit(t, s, p) }()
	for deadline := time.Now().Add(30 * time.Second); !s.DiskFull(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("once it is open, nothing waits for room")
		}
	}
	full.Off()
	<-done
	closeStore(t, s)
}
