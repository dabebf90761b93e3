package httpapi

import (
	"math/bits"
	"sync"
)

// slabs keeps slices from one request to the next, by size, so that small requests do not hold on
// to the memory of large ones, and the memory of many together is about what they need.
type slabs[T any] struct {
	// least is the smallest length, a power of two; each further size is twice the one before.
	least int
	// points says that what is in a slice points to other memory.
	points bool
	sizes  [10]sync.Pool
}

// class is the smallest size that holds n, and its index; the index is out of range if n is too
// large to be kept.
func (s *slabs[T]) class(n int) (index, size int) {
	index = bits.Len(uint(max(n-1, 0)) / uint(s.least))
	return index, s.least << min(index, len(s.sizes)-1)
}

// size is the capacity of the slice that get returns for n.
func (s *slabs[T]) size(n int) int {
	_, size := s.class(n)
	return max(size, n)
}

// get returns an empty slice with room for n at least.
func (s *slabs[T]) get(n int) *[]T {
	index, size := s.class(n)
	if index < len(s.sizes) {
		if p, ok := s.sizes[index].Get().(*[]T); ok {
			return p
		}
	}
	b := make([]T, 0, max(size, n))
	return &b
}

// put takes a slice back. What it points to is let go of.
func (s *slabs[T]) put(p *[]T) {
	if p == nil {
		return
	}
	index, size := s.class(cap(*p))
	if index >= len(s.sizes) || size != cap(*p) {
		return // unusual
	}
	if s.points {
		clear(*p)
	}
	*p = (*p)[:0]
	s.sizes[index].Put(p)
}
