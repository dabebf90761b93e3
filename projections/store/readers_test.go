package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store can be put aside while a snapshot of it is read: the read ends, and no other one begins.
func TestStoresAreClosedUnderReaders(t *testing.T) {
	s, err := Open("state", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := s.db.Set(fmt.Appendf(nil, "k%03d", i), []byte("v"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil { // into a file, which the reader holds
		t.Fatal(err)
	}
	snap := s.Snapshot()
	var left atomic.Bool
	reading, read := make(chan struct{}), make(chan error)
	go func() {
		first := true
		read <- snap.each(t.Context(), func(_, _ []byte) error {
			if first {
				first = false
				close(reading)
			}
			for !s.readers.ended() {
				runtime.Gosched()
			}
			time.Sleep(50 * time.Millisecond) // so that it is seen who waits
			left.Store(true)
			return nil
		})
	}()
	<-reading
	if err := s.Discard(); err != nil { // which closes the snapshot
		t.Error(err)
	}
	if !left.Load() {
		t.Error("the store was closed under a reader")
	}
	if err := <-read; !errors.Is(err, ErrClosed) {
		t.Errorf("the read ended with %v", err)
	}
	if _, err := snap.Get([]byte("k001")); !errors.Is(err, ErrClosed) {
		t.Errorf("a read after that: %v", err)
	}
	if err := snap.Close(); err != nil {
		t.Errorf("it is closed: %v", err)
	}
}
