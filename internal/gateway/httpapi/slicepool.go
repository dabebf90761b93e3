package httpapi

import (
	"math/bits"
	"sync"
)

// slicePool keeps slices from one request to the next, by size, so that small requests do not hold
// on to the memory of large ones, and the memory of many together is about what they need.
type slicePool[T any] struct {
	// least is the smallest length, a power of two; each further size is twice the one before.
	least int
	// points says that what is in a slice points to other memory.
	points bool
	sizes  [10]sync.Pool
}

// class is the smallest size that holds n, and its index; the index is out of range if n is too
// large to be kept.
func (p *slicePool[T]) class(n int) (index, size int) {
	index = bits.Len(uint(max(n-1, 0)) / uint(p.least))
	return index, p.least << min(index, len(p.sizes)-1)
}

// size is the capacity of the slice that get returns for n.
func (p *slicePool[T]) size(n int) int {
	_, size := p.class(n)
	return max(size, n)
}

// get returns an empty slice with room for n at least.
func (p *slicePool[T]) get(n int) *[]T {
	index, size := p.class(n)
	if index < len(p.sizes) {
		if x, ok := p.sizes[index].Get().(*[]T); ok {
			return x
		}
	}
	b := make([]T, 0, max(size, n))
	return &b
}

// put takes a slice back. What it points to is let go of.
func (p *slicePool[T]) put(x *[]T) {
	if x == nil {
		return
	}
	index, size := p.class(cap(*x))
	if index >= len(p.sizes) || size != cap(*x) {
		return // unusual
	}
	if p.points {
		clear(*x)
	}
	*x = (*x)[:0]
	p.sizes[index].Put(x)
}
