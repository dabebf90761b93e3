package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
// gets. Its memory is bounded; with more keys than that is for, more and more lookups search the
// tree although the key is not there.
type filter struct {
	db   *pebble.DB
	ctx  context.Context // ends the learning
	stop context.CancelFunc

	mu       sync.RWMutex
	sets     []*keySet // a key is in one of them
	most     uint64    // keys that they may be made for, all together
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
	// firstFilterKeys is the capacity of a first set, unless that is too much: 1.7 MB.
	firstFilterKeys = 1 << 20
	// defaultFilterBytes is the bound of a filter's memory if none is given.
	defaultFilterBytes = 64 << 20
	filterRate         = 0.005
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

// filterKeys is for how many keys there is room in so many bytes: at [filterRate] one takes 1.75.
func filterKeys(bytes int) uint64 { return max(1, uint64(bytes)*4/7) }

// newFilter is a filter for a database that takes so many bytes at most; failed is told why it has
// to do without.
func newFilter(db *pebble.DB, empty bool, bytes int, failed func(error)) *filter {
	f := &filter{db: db, complete: empty, most: filterKeys(bytes)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	stored := uint64(db.Metrics().DiskSpaceUsage() / bytesPerKey)
	f.sets = []*keySet{newKeySet(min(max(stored, firstFilterKeys), f.most))}
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

// SetFilterBytes changes the bound of the filter's memory: see [Options]. A filter that has more
// keeps it.
func (s *Store) SetFilterBytes(n int) { s.filter.bound(n) }

// bound changes the memory that it may take; it has what it has.
func (f *filter) bound(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most = filterKeys(bytes)
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
// it together, or one that takes all that is left if no more than that would be left for a further
// one. When the bound is reached it is the one that is the least too full, so that all of them let
// more through, bit by bit, and none everything.
func (f *filter) grow() *keySet {
	var total uint64
	for _, s := range f.sets {
		total += s.capacity
	}
	if total >= f.most {
		return slices.MinFunc(f.sets, func(a, b *keySet) int { return cmp.Compare(a.keys*b.capacity, b.keys*a.capacity) })
	}
	next, left := 2*total, f.most-total
	if left < 2*next {
		next = left
	}
	f.sets = append(f.sets, newKeySet(next))
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
