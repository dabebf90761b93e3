package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// failure is the first error of a write: that of a commit, or one that Pebble met in the
// background, usually because it cannot write its files. Pebble itself tries again for ever and
// reports nothing to those who commit, so the store does.
type failure struct {
	once     sync.Once
	err      error
	occurred chan struct{} // closed when there is one
}

func newFailure() *failure { return &failure{occurred: make(chan struct{})} }

func (f *failure) listener() *pebble.EventListener {
	return &pebble.EventListener{BackgroundError: func(err error) { f.record(fmt.Errorf("keep state: %w", err)) }}
}

// record notes an error if it is the first one.
func (f *failure) record(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.occurred)
	})
}

// get returns the error, or nil while there is none.
func (f *failure) get() error {
	select {
	case <-f.occurred:
		return f.err
	default:
		return nil
	}
}
