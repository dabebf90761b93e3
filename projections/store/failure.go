package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// failure is the first error of a write: that of a commit, or one that Pebble met in the background, mostly because it cannot
// write its files. It tries again for ever and tells nobody who commits, so the store does.
type failure struct {
	once sync.Once
	err  error
	met  chan struct{} // closed when there is one
}

func newFailure() *failure { return &failure{met: make(chan struct{})} }

func (f *failure) listener() *pebble.EventListener {
	return &pebble.EventListener{BackgroundError: func(err error) { f.meet(fmt.Errorf("keep state: %w", err)) }}
}

// meet notes an error, if it is the first.
func (f *failure) meet(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.met)
	})
}

// get returns the error, nil while all is well.
func (f *failure) get() error {
	select {
	case <-f.met:
		return f.err
	default:
		return nil
	}
}
