package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/bits-and-blooms/bloom/v3"
	"github.com/cockroachdb/pebble/v2"

	"github.com/receiptd/receiptd/projections"
)

// filter tells in one look at memory that a key is not in the store. Most lookups of a fold are for messages
// that are new: without it each would cost a search through every level of the tree, ten microseconds.
//
// It says nothing until it has learned what was in the store when it was opened, which happens beside the
// fold. Keys committed meanwhile go into it as they come. When it is full, a larger one learns everything while
// this one still serves.
type filter struct {
	db     *pebble.DB
	failed func(error)
	ctx    context.Context // ends the learning
	stop   context.CancelFunc

	mu       sync.RWMutex
	serving  *keySet // complete; nil at first
	next     *keySet // learning; nil if none is
	learning sync.WaitGroup
}

// keySet is a Bloom filter, and how many keys it holds and is made for.
type keySet struct {
	bloom          *bloom.BloomFilter
	keys, capacity uint
}

const (
	// minFilterKeys is the capacity of a first filter: 1.4 MB.
	minFilterKeys = 1 << 20
	// maxFilterKeys bounds the memory of a filter to 90 MB; beyond it lookups get dearer, slowly.
	maxFilterKeys = 64 << 20
	filterRate    = 0.005
)

func newKeySet(capacity uint) *keySet {
	capacity = min(max(capacity, minFilterKeys), maxFilterKeys)
	return &keySet{capacity: capacity, bloom: bloom.NewWithEstimates(capacity, filterRate)}
}

func (s *keySet) add(key []byte) {
	if s != nil && !s.bloom.TestOrAdd(key) {
		s.keys++
	}
}

func newFilter(db *pebble.DB, empty bool, failed func(error)) *filter {
	f := &filter{db: db, failed: failed}
	f.ctx, f.stop = context.WithCancel(context.Background())
	if empty {
		f.serving = newKeySet(0)
	} else {
		f.learn(newKeySet(0))
	}
	return f
}

// lacks reports that a key is certainly not in the store.
func (f *filter) lacks(key []byte) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.serving != nil && !f.serving.bloom.Test(key)
}

// add makes a key known; it has to be before the key is committed.
func (f *filter) add(key []byte) {
	if !projections.LookedUp(key) {
		return
	}
	f.mu.Lock()
	f.serving.add(key)
	f.next.add(key)
	f.mu.Unlock()
}

// grow begins to learn a larger filter if the one that serves is full. It is called between commits.
func (f *filter) grow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.serving
	if s != nil && f.next == nil && s.keys > s.capacity && s.capacity < maxFilterKeys && f.ctx.Err() == nil {
		f.learn(newKeySet(4 * s.keys))
	}
}

// learn fills a set with the keys of the store as it is now, and then lets it serve.
func (f *filter) learn(set *keySet) {
	f.next = set
	snap := &Snapshot{snap: f.db.NewSnapshot()}
	f.learning.Go(func() {
		err := snap.each(f.ctx, func(key, _ []byte) error {
			if projections.LookedUp(key) {
				f.mu.Lock()
				set.add(key)
				f.mu.Unlock()
			}
			return nil
		})
		if closed := snap.Close(); err == nil {
			err = closed
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.next = nil
		switch {
		case err == nil:
			f.serving = set
		case f.ctx.Err() == nil:
			// Lookups stay right without it, only slower.
			f.failed(fmt.Errorf("learn the keys of the state: %w", err))
		}
	})
}

func (f *filter) close() {
	f.stop()
	f.learning.Wait()
}
