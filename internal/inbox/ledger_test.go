package inbox

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A device that leaves right after it has acknowledged something and comes back at once finds its
// position, even if that is just being written, or could not be.
func TestPositionsThatAreBeingWrittenCount(t *testing.T) {
	errBroken := errors.New("broken")
	for _, broken := range []error{nil, errBroken} {
		var l ledger
		writing, goOn := make(chan struct{}), make(chan error)
		l.init(func(_ context.Context, users map[string]*userDevices) error {
			list := l.snapshot(users, time.Time{})
			writing <- struct{}{}
			if err := <-goOn; err != nil {
				return err
			}
			l.written(list)
			clear(users)
			return nil
		})
		flushed := make(chan error)
		flush := func() {
			go func() { flushed <- l.changed.Flush(t.Context()) }()
			<-writing
		}
		comesBack := func(when string) {
			t.Helper()
			l.close("ann")
			if l.users["ann"] == nil {
				t.Fatalf("%s: the position would be read from the stream, which does not have it", when)
			}
			if at, err := l.open(t.Context(), nil, "ann", "web"); at != 7 || err != nil {
				t.Fatalf("%s: the position is %d, %v; want 7", when, at, err)
			}
		}

		loaded := make(chan struct{})
		close(loaded)
		l.users["ann"] = &userDevices{boxes: 1, loaded: loaded}
		l.acknowledge("ann", "web", 7, 1)
		comesBack("before it is written")
		flush()
		comesBack("while it is written")
		goOn <- broken
		if err := <-flushed; !errors.Is(err, broken) {
			t.Fatalf("Flush: %v, want %v", err, broken)
		}
		if broken != nil {
			comesBack("after it could not be written")
			flush()
			goOn <- nil
			if err := <-flushed; err != nil {
				t.Fatal(err)
			}
		}
		if l.close("ann"); len(l.users) > 0 {
			t.Error("what is written is kept in memory although nobody is connected")
		}
	}
}
