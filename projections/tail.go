package projections

import "slices"

// tail is the end of a list whose items are in the backing, each under its number: what may not be
// there yet, and a few more, so that a short list needs no look into the backing. However long the
// list is, the memory it takes stays small.
type tail[T any] struct {
	items []tailItem[T] // by number
	// cut is the number up to which items are in the backing only; 0 = all are here.
	cut uint64
}

type tailItem[T any] struct {
	n     uint64
	epoch uint64 // the checkpoint that captures, or captured, it
	value T
}

// tailCached is how many items stay that are in the backing already, as a rule.
const tailCached = 8

// add puts an item at the end, and drops some of before keep that were committed.
func (t *tail[T]) add(p *Partition, n, keep uint64, value T) {
	drop := 0
	for len(t.items)-drop >= p.rules.limits.CachedItems && t.items[drop].epoch <= p.changes.committed && t.items[drop].n < keep {
		drop++
	}
	if drop > 0 {
		t.cut = t.items[drop-1].n
		t.items = slices.Delete(t.items, 0, drop)
	}
	t.items = append(t.items, tailItem[T]{n, p.changes.epoch, value})
}

// remove takes an item out, if it is here.
func (t *tail[T]) remove(n uint64) {
	if k, found := t.find(n); found {
		t.items = slices.Delete(t.items, k, k+1)
	}
}

// from are the items here with numbers of at least n.
func (t *tail[T]) from(n uint64) []tailItem[T] {
	k, _ := t.find(n)
	return t.items[k:]
}

func (t *tail[T]) find(n uint64) (k int, found bool) {
	return slices.BinarySearchFunc(t.items, n, func(x tailItem[T], n uint64) int {
		return int(int64(x.n) - int64(n))
	})
}
