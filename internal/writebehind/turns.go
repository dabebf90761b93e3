// Package writebehind gathers changes and writes them a little later, in turns: a key that changes
// a hundred times a second is written once, and keys that change together are not all written at
// one moment, which would hold up everything else that the disk is asked for.
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
	// turns is how many parts the keys are spread over in that time.
	turns = 20
)

// Turns gathers values by key. What has changed is written about a second later, and with
// [Turns.Flush] at once; what a crash takes before that is lost. Its methods may be called from
// many goroutines.
type Turns[K comparable, V any] struct {
	write func(ctx context.Context, changes map[K]V) error
	merge func(older, newer V) V
	seed  maphash.Seed
	early chan int
	turns [turns]turn[K, V]
}

// turn has the keys that are written at the same moment.
type turn[K comparable, V any] struct {
	writing sync.Mutex // held while its changes are written
	mu      sync.Mutex
	changes map[K]V
}

// New makes Turns.
//
// write stores changes, never two lots of the same key at a time. It deletes from the map what it
// has stored; what is left in it with an error is written again in the next turn. It may call
// [Turns.Put].
//
// merge makes one value of two for the same key. It may change and return either.
func New[K comparable, V any](write func(ctx context.Context, changes map[K]V) error, merge func(older, newer V) V) *Turns[K, V] {
	return &Turns[K, V]{write: write, merge: merge, seed: maphash.MakeSeed(), early: make(chan int, turns)}
}

func (t *Turns[K, V]) of(key K) int { return int(maphash.Comparable(t.seed, key) % turns) }

// Put has a key written in its turn.
func (t *Turns[K, V]) Put(key K, value V) {
	x := &t.turns[t.of(key)]
	x.mu.Lock()
	defer x.mu.Unlock()
	if older, ok := x.changes[key]; ok {
		value = t.merge(older, value)
	}
	x.put(key, value)
}

// Waiting reports whether a change of the key waits for its turn. One that is just being written
// does not.
func (t *Turns[K, V]) Waiting(key K) bool {
	x := &t.turns[t.of(key)]
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.changes[key]
	return ok
}

// Hurry has the turn of a key come next. It does not wait for it.
func (t *Turns[K, V]) Hurry(key K) {
	select {
	case t.early <- t.of(key):
	default: // enough is wanted already; the turn comes within a second anyway
	}
}

// Run writes the turns one after the other until the context ends. failed is called with the errors
// of write, but for those of the context.
func (t *Turns[K, V]) Run(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(every / turns)
	defer ticker.Stop()
	for next := 0; ; {
		now := next
		select {
		case <-ticker.C:
			next = (next + 1) % turns
		case now = <-t.early:
		case <-ctx.Done():
			return
		}
		if err := t.flush(ctx, now); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}

// Flush writes all that waits, and waits for what is just being written. What fails is kept for the
// next turn.
func (t *Turns[K, V]) Flush(ctx context.Context) (err error) {
	for k := range t.turns {
		err = errors.Join(err, t.flush(ctx, k))
	}
	return err
}

func (t *Turns[K, V]) flush(ctx context.Context, turn int) error {
	x := &t.turns[turn]
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	changes := x.changes
	x.changes = nil
	x.mu.Unlock()
	return t.store(ctx, x, changes)
}

// FlushKey writes what waits for one key, and waits for what is just being written. It is stored
// afterwards, or with an error kept for the next turn.
func (t *Turns[K, V]) FlushKey(ctx context.Context, key K) error {
	x := &t.turns[t.of(key)]
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	value, ok := x.changes[key]
	delete(x.changes, key)
	x.mu.Unlock()
	if !ok {
		return nil
	}
	return t.store(ctx, x, map[K]V{key: value})
}

// store writes changes and puts back what failed.
func (t *Turns[K, V]) store(ctx context.Context, x *turn[K, V], changes map[K]V) error {
	if len(changes) == 0 {
		return nil
	}
	err := t.write(ctx, changes)
	if err == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, value := range changes {
		if newer, ok := x.changes[key]; ok {
			value = t.merge(value, newer)
		}
		x.put(key, value)
	}
	return err
}

func (x *turn[K, V]) put(key K, value V) {
	if x.changes == nil {
		x.changes = make(map[K]V)
	}
	x.changes[key] = value
}
