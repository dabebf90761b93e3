// Package writebehind gathers changes and writes them a little later, shard by shard: a key that
// changes a hundred times a second is written once, and keys that change together are not all
// written at one moment, which would hold up everything else that the disk is asked for.
package writebehind

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"
)

const (
	// every is how often each key is written at most.
	every = time.Second
	// shards is how many parts the keys are spread over in that time.
	shards = 20
)

// Buffer gathers values by key. What has changed is written about a second later, and with
// [Buffer.Flush] at once; what a crash takes before that is lost. Its methods may be called from
// many goroutines.
type Buffer[K comparable, V any] struct {
	write  func(ctx context.Context, changes map[K]V) error
	merge  func(older, newer V) V
	seed   maphash.Seed
	early  chan int
	shards [shards]shard[K, V]
}

// shard has the keys that are written at the same moment.
type shard[K comparable, V any] struct {
	writing sync.Mutex // held while its changes are written
	mu      sync.Mutex
	changes map[K]V
}

// New makes a Buffer.
//
// write stores changes, never two lots of the same key at a time. It deletes from the map what it
// has stored; what is left in it with an error is written again with the next changes. It may call
// [Buffer.Put].
//
// merge makes one value of two for the same key. It may change and return either.
func New[K comparable, V any](write func(ctx context.Context, changes map[K]V) error, merge func(older, newer V) V) *Buffer[K, V] {
	return &Buffer[K, V]{write: write, merge: merge, seed: maphash.MakeSeed(), early: make(chan int, shards)}
}

func (b *Buffer[K, V]) of(key K) int { return int(maphash.Comparable(b.seed, key) % shards) }

// Put has a key written within a second.
func (b *Buffer[K, V]) Put(key K, value V) {
	x := &b.shards[b.of(key)]
	x.mu.Lock()
	defer x.mu.Unlock()
	if older, ok := x.changes[key]; ok {
		value = b.merge(older, value)
	}
	x.put(key, value)
}

// Waiting reports whether a change of the key waits to be written. One that is just being written
// does not.
func (b *Buffer[K, V]) Waiting(key K) bool {
	x := &b.shards[b.of(key)]
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.changes[key]
	return ok
}

// Hurry has the shard of a key written next. It does not wait for it.
func (b *Buffer[K, V]) Hurry(key K) {
	select {
	case b.early <- b.of(key):
	default: // enough is wanted already; the shard is written within a second anyway
	}
}

// Run writes the shards one after the other until the context ends. failed is called with the
// errors of write, but for those of the context.
func (b *Buffer[K, V]) Run(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(every / shards)
	defer ticker.Stop()
	for next := 0; ; {
		now := next
		select {
		case <-ticker.C:
			next = (next + 1) % shards
		case now = <-b.early:
		case <-ctx.Done():
			return
		}
		if err := b.flush(ctx, now); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}

// Flush writes all that waits, and waits for what is just being written. What fails is kept for the
// next time.
func (b *Buffer[K, V]) Flush(ctx context.Context) (err error) {
	for k := range b.shards {
		err = errors.Join(err, b.flush(ctx, k))
	}
	return err
}

func (b *Buffer[K, V]) flush(ctx context.Context, shard int) error {
	x := &b.shards[shard]
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	changes := x.changes
	x.changes = nil
	x.mu.Unlock()
	return b.store(ctx, x, changes)
}

// FlushKey writes what waits for one key, and waits for what is just being written. It is stored
// afterwards, or with an error kept for the next time.
func (b *Buffer[K, V]) FlushKey(ctx context.Context, key K) error {
	x := &b.shards[b.of(key)]
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	value, ok := x.changes[key]
	delete(x.changes, key)
	x.mu.Unlock()
	if !ok {
		return nil
	}
	return b.store(ctx, x, map[K]V{key: value})
}

// store writes changes and puts back what failed.
func (b *Buffer[K, V]) store(ctx context.Context, x *shard[K, V], changes map[K]V) error {
	if len(changes) == 0 {
		return nil
	}
	err := b.write(ctx, changes)
	if err == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, value := range changes {
		if newer, ok := x.changes[key]; ok {
			value = b.merge(value, newer)
		}
		x.put(key, value)
	}
	return err
}

func (x *shard[K, V]) put(key K, value V) {
	if x.changes == nil {
		x.changes = make(map[K]V)
	}
	x.changes[key] = value
}
