package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrClosed is the error of a read in a store that is closed: its state has left, or was replaced.
var ErrClosed = errors.New("store: it is closed")

// readers are the snapshots of a store and the reads under way in them. Pebble must not be closed
// under an iterator, nor with a snapshot that is not, and those who read one do not keep its store
// from being put aside.
type readers struct {
	mu   sync.RWMutex // held for reading by each
	over atomic.Bool

	holding sync.Mutex
	held    map[*Snapshot]struct{} // that are not closed
}

// hold has a snapshot closed with the store, unless it is before.
func (r *readers) hold(s *Snapshot) {
	r.holding.Lock()
	defer r.holding.Unlock()
	if r.held == nil {
		r.held = map[*Snapshot]struct{}{}
	}
	r.held[s] = struct{}{}
}

// release closes a snapshot, if that was not done.
func (r *readers) release(s *Snapshot) error {
	r.holding.Lock()
	defer r.holding.Unlock()
	if _, open := r.held[s]; !open {
		return nil
	}
	delete(r.held, s)
	return s.snap.Close()
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

// stop ends the reads under way, waits for them, refuses others, and closes the snapshots.
func (r *readers) stop() (err error) {
	r.over.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding.Lock()
	defer r.holding.Unlock()
	for s := range r.held {
		err = errors.Join(err, s.snap.Close())
	}
	clear(r.held)
	return err
}
