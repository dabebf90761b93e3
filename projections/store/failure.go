package store

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// failure is the first error of a write: that of a commit, or one that Pebble met in the
// background, usually because it cannot write its files. Pebble itself tries again for ever and
// reports nothing to those who commit, so the store does.
type failure struct {
	fs  vfs.FS
	dir string

	once     sync.Once
	err      error
	occurred chan struct{} // closed when there is one

	corrupted atomic.Pointer[CorruptError]
	onCorrupt func() // nil for nobody
}

func newFailure(fs vfs.FS, dir string, onCorrupt func()) *failure {
	return &failure{fs: fs, dir: dir, occurred: make(chan struct{}), onCorrupt: onCorrupt}
}

func (f *failure) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { f.record(fmt.Errorf("keep state: %w", known(err))) },
		// Without this Pebble ends the process, whoever asked.
		DataCorruption: func(info pebble.DataCorruptionInfo) { f.corrupt(info.Path, info.Details) },
	}
}

// corruptFile lies in the directory of a store that was found corrupt, so that the next start does
// not take it for good until somebody asks for the damaged block again.
const corruptFile = "CORRUPT"

// corrupt notes that a file is not what was written; path may be empty.
func (f *failure) corrupt(path string, details error) {
	c := &CorruptError{Path: path, Err: details}
	f.record(c)
	if !f.corrupted.CompareAndSwap(nil, c) {
		return
	}
	if f.onCorrupt != nil {
		defer f.onCorrupt()
	}
	file, err := f.fs.Create(f.fs.PathJoin(f.dir, corruptFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return // it will be found again
	}
	fmt.Fprintf(file, "%s: %v\n", path, details)
	_ = errors.Join(file.Sync(), file.Close())
}

// Condemn notes that the store does not hold what it should, as if its files were corrupt: nobody
// is answered from it any more, and it is folded again.
func (s *Store) Condemn(reason error) { s.failure.corrupt("", reason) }

// corruption is what was found corrupt, or nil.
func (f *failure) corruption() error {
	if c := f.corrupted.Load(); c != nil {
		return c
	}
	return nil
}

// read is what an error of a read is called here. One that means corruption is noted, whoever met
// it.
func (f *failure) read(err error) error {
	err = known(err)
	if c, ok := errors.AsType[*CorruptError](err); ok {
		f.corrupt(c.Path, c.Err)
	}
	return err
}

// wasCorrupt returns what an earlier process found wrong with the store; nil if nothing.
func wasCorrupt(fs vfs.FS, dir string) error {
	file, err := fs.Open(fs.PathJoin(dir, corruptFile))
	if err != nil {
		return nil
	}
	defer file.Close()
	text, _ := io.ReadAll(file)
	return &CorruptError{Err: fmt.Errorf("an earlier process found: %s", strings.TrimSpace(string(text)))}
}

// ErrCorrupt: what the store reads is not what it wrote. The state can be folded again from
// the log.
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
