package store

import (
	"errors"
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
	return &pebble.EventListener{
		BackgroundError: func(err error) { f.meet(fmt.Errorf("keep state: %w", known(err))) },
		// Without this Pebble ends the process, whoever asked.
		DataCorruption: func(info pebble.DataCorruptionInfo) { f.meet(&CorruptError{Path: info.Path, Err: info.Details}) },
	}
}

// ErrCorrupt: what the store reads is not what it wrote. The state can be folded again from the log.
var ErrCorrupt = errors.New("store: the state's files are corrupt")

// CorruptError names the file. It wraps [ErrCorrupt].
type CorruptError struct {
	Path string // empty if that is not known
	Err  error
}

func (e *CorruptError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%v: %v", ErrCorrupt, e.Err)
	}
	return fmt.Sprintf("%v: %s: %v", ErrCorrupt, e.Path, e.Err)
}

// Unwrap is [ErrCorrupt] and what Pebble says.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// known gives an error of Pebble that means corruption the name that this package has for it.
func known(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) || !pebble.IsCorruptionError(err) {
		return err
	}
	c := &CorruptError{Err: err}
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		c.Path = info.Path
	}
	return c
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
