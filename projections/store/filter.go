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

// filter tells with one access to memory that a key is not in the store. Most lookups of a fold are
// for messages that are new; without the filter each would search every level of the tree, which
// takes ten microseconds.
//
// It rules nothing out until it has learned what was in the store when that was opened, which
// happens in the background. Keys that are committed meanwhile are added as they come. When it is
// full, further keys go into another, larger set: nothing is learned again, however large the store
// gets.
type filter struct {
	db   *pebble.DB
	ctx  context.Context // ends the learning
	stop context.CancelFunc

	mu       sync.RWMutex
	sets     []*keySet // a key is in one of them
	complete bool      // every key of the store is in one of them
	learning sync.WaitGroup
}

// keySet is a Bloom filter with the number of keys that it holds and that it is made for. All bits
// of a key lie in one cache line of the processor: in a set of many megabytes each further line
// would cost a hundred nanoseconds.
type keySet struct {
	bloom          *blobloom.Filter
	keys, capacity uint64
}

const (
	// firstFilterKeys is the capacity of a first set, unless less is asked for: 1.7 MB.
	firstFilterKeys = 1 << 20
	// maxFilterKeys bounds the memory of a filter to 110 MB; beyond that lookups slowly get more
	// expensive.
	maxFilterKeys = 64 << 20
	filterRate    = 0.005
	// bytesPerKey is about what a key that is looked up takes on the disk, with its value and its
	// share of the other tables.
	bytesPerKey = 40
	// learnBatch is the number of keys that are added under one lock, so that commits and lookups
	// wait only for a moment.
	learnBatch = 256
)

func newKeySet(capacity uint64) *keySet {
	return &keySet{capacity: capacity, bloom: blobloom.NewOptimized(blobloom.Config{Capacity: capacity, FPRate: filterRate})}
}

// newFilter is a filter for a database, made for so many keys at first, see [Options.FilterKeys];
// failed is told why it has to do without.
func newFilter(db *pebble.DB, empty bool, keys int, failed func(error)) *filter {
	f := &filter{db: db, complete: empty}
	f.ctx, f.stop = context.WithCancel(context.Background())
	if keys <= 0 || keys > firstFilterKeys {
		keys = firstFilterKeys
	}
	stored := uint64(db.Metrics().DiskSpaceUsage() / bytesPerKey)
	f.sets = []*keySet{newKeySet(min(max(stored, uint64(keys)), maxFilterKeys))}
	if empty {
		return f
	}
	snap := db.NewSnapshot()
	f.learning.Go(func() {
		// Without the filter lookups are slower, and just as right.
		if err := errors.Join(f.learn(snap), snap.Close()); err != nil && f.ctx.Err() == nil {
			failed(fmt.Errorf("learn the keys of the state: %w", err))
		}
	})
	return f
}

// lacks reports whether a key is certainly not in the store. False says nothing.
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

// add makes a key known. It is called before the key is committed.
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

// grow returns the set to add to when the last one is full: a new one, twice as large as all before
// it together, or the last one if the bound is reached.
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

// learn adds the keys of a snapshot. After that the filter is complete.
func (f *filter) learn(snap *pebble.Snapshot) error {
	it, err := snap.NewIterWithContext(f.ctx, nil)
	if err != nil {
		return err
	}
	hashes := make([]uint64, 0, learnBatch)
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
		if hashes = append(hashes, xxhash.Sum64(key)); len(hashes) == learnBatch {
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
