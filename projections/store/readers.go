package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrClosed is the error of a read in a store that is closed: its state has left, or was replaced.
var ErrClosed = errors.New("store: it is closed")

// readers are the reads under way in the snapshots of a store. Pebble must not be closed under an
// iterator, and those who read a snapshot do not keep its store from being put aside.
type readers struct {
	mu   sync.RWMutex // held for reading by each
	over atomic.Bool
}

// begin begins a read, which has to end, and soon if ended reports true.
func (r *readers) begin() error {
	r.mu.RLock()
	if r.over.Load() {
		r.mu.RUnlock()
		return ErrClosed
	}
	return nil
}

func (r *readers) end() { r.mu.RUnlock() }

func (r *readers) ended() bool { return r.over.Load() }

// stop ends the reads under way, waits for them, and refuses others.
func (r *readers) stop() {
	r.over.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
}
