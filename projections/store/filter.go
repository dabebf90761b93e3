package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/greatroar/blobloom"

	"github.com/receiptd/receiptd/projections"
)

// filter tells in one look at memory that a key is not in the store. Most lookups of a fold are for messages
// that are new: without it each would cost a search through every level of the tree, ten microseconds.
//
// It says nothing until it has learned what was in the store when it was opened, which happens beside the
// fold. Keys committed meanwhile go into it as they come. When it is full, the keys that follow go into a further,
// larger set: nothing is learned again, however large the store gets.
type filter struct {
	db   *pebble.DB
	ctx  context.Context // ends the learning
	stop context.CancelFunc

	mu       sync.RWMutex
	sets     []*keySet // a key is in one of them
	complete bool      // they have every key of the store
	learning sync.WaitGroup
}

// keySet is a Bloom filter, and how many keys it holds and is made for. The bits of a key lie in one line of the processor's cache: in a
// set of many megabytes each further one would cost a hundred nanoseconds.
type keySet struct {
	bloom          *blobloom.Filter
	keys, capacity uint64
}

const (
	// minFilterKeys is the capacity of a first set: 1.7 MB.
	minFilterKeys = 1 << 20
	// maxFilterKeys bounds the memory of a filter to 110 MB; beyond it lookups get dearer, slowly.
	maxFilterKeys = 64 << 20
	filterRate    = 0.005
	// bytesPerKey is about what a key that is looked up takes on the disk, values and other tables included.
	bytesPerKey = 40
	// learnAtOnce keys are learned at once, so that commits and lookups wait for a moment only.
	learnAtOnce = 256
)

func newKeySet(capacity uint64) *keySet {
	return &keySet{capacity: capacity, bloom: blobloom.NewOptimized(blobloom.Config{Capacity: capacity, FPRate: filterRate})}
}

func newFilter(db *pebble.DB, empty bool, failed func(error)) *filter {
	f := &filter{db: db, complete: empty}
	f.ctx, f.stop = context.WithCancel(context.Background())
	stored := uint64(db.Metrics().DiskSpaceUsage() / bytesPerKey)
	f.sets = []*keySet{newKeySet(min(max(stored, minFilterKeys), maxFilterKeys))}
	if empty {
		return f
	}
	snap := db.NewSnapshot()
	f.learning.Go(func() {
		// Lookups stay right without it, only slower.
		if err := errors.Join(f.learn(snap), snap.Close()); err != nil && f.ctx.Err() == nil {
			failed(fmt.Errorf("learn the keys of the state: %w", err))
		}
	})
	return f
}

// lacks reports that a key is certainly not in the store.
func (f *filter) lacks(key []byte) bool {
	h := xxhash.Sum64(key)
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, s := range f.sets {
		if s.bloom.Has(h) {
			return false
		}
	}
	return f.complete
}

// add makes a key known; it has to be before the key is committed.
func (f *filter) add(key []byte) {
	if !projections.LookedUp(key) {
		return
	}
	h := xxhash.Sum64(key)
	f.mu.Lock()
	f.addLocked(h)
	f.mu.Unlock()
}

func (f *filter) addLocked(h uint64) {
	for _, s := range f.sets {
		if s.bloom.Has(h) {
			return
		}
	}
	s := f.sets[len(f.sets)-1]
	if s.keys >= s.capacity {
		s = f.grow()
	}
	s.bloom.Add(h)
	s.keys++
}

// grow returns the set to add to when the last one is full: twice as large as all before, within the bound.
func (f *filter) grow() *keySet {
	var total uint64
	for _, s := range f.sets {
		total += s.capacity
	}
	if total < maxFilterKeys {
		f.sets = append(f.sets, newKeySet(min(2*total, maxFilterKeys-total)))
	}
	return f.sets[len(f.sets)-1]
}

// learn adds the keys of a snapshot, after which the filter is complete.
func (f *filter) learn(snap *pebble.Snapshot) error {
	it, err := snap.NewIterWithContext(f.ctx, nil)
	if err != nil {
		return err
	}
	hashes := make([]uint64, 0, learnAtOnce)
	flush := func() {
		f.mu.Lock()
		for _, h := range hashes {
			f.addLocked(h)
		}
		f.mu.Unlock()
		hashes = hashes[:0]
	}
	for ok := it.First(); ok; {
		key := it.Key()
		if !projections.LookedUp(key) {
			if key[0] == 0xff {
				break
			}
			ok = it.SeekGE([]byte{key[0] + 1}) // the next table
			continue
		}
		if hashes = append(hashes, xxhash.Sum64(key)); len(hashes) == learnAtOnce {
			if flush(); f.ctx.Err() != nil {
				return errors.Join(f.ctx.Err(), it.Close())
			}
		}
		ok = it.Next()
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	flush()
	f.mu.Lock()
	f.complete = true
	f.mu.Unlock()
	return nil
}

func (f *filter) close() {
	f.stop()
	f.learning.Wait()
}
