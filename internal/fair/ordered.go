package fair

// ordered is a heap, for [container/heap], of members that know where they are in it.
type ordered[T member[T]] []T

type member[T any] interface {
	// before reports whether the member comes before another one.
	before(other T) bool
	moved(to int)
}

// rank is a part of a member: where it is in the heap.
type rank struct{ at int }

func (r *rank) moved(to int) { r.at = to }

// Len implements [heap.Interface].
func (o ordered[T]) Len() int { return len(o) }

// Less implements [heap.Interface].
func (o ordered[T]) Less(i, j int) bool { return o[i].before(o[j]) }

// Swap implements [heap.Interface].
func (o ordered[T]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].moved(i)
	o[j].moved(j)
}

// Push implements [heap.Interface].
func (o *ordered[T]) Push(x any) {
	m := x.(T)
	m.moved(len(*o))
	*o = append(*o, m)
}

// Pop implements [heap.Interface].
func (o *ordered[T]) Pop() any {
	last := len(*o) - 1
	m := (*o)[last]
	clear((*o)[last:])
	*o = (*o)[:last]
	return m
}
