package projections

import "iter"

// recent keeps the latest of a list without an end: the one numbered n is at n modulo the limit.
type recent[T any] struct {
	slots []T
	next  uint64 // how many there were so far
	saved uint64 // of those, how many the last capture has
}

func (r *recent[T]) add(x T, limit int) {
	if len(r.slots) < limit {
		r.slots = append(r.slots, x)
	} else {
		r.slots[r.next%uint64(limit)] = x
	}
	r.next++
}

// newest goes through what is kept, from the newest on.
func (r *recent[T]) newest(limit int) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for n := r.next; n > 0 && r.next-n < uint64(len(r.slots)); n-- {
			if !yield(&r.slots[(n-1)%uint64(limit)]) {
				return
			}
		}
	}
}

// save calls put with the slots that changed since the last capture, and the numbers of what is in
// them.
func (r *recent[T]) save(limit int, put func(slot int, n uint64, x *T)) {
	from := r.saved
	if r.next-from > uint64(limit) {
		from = r.next - uint64(limit)
	}
	for n := from; n < r.next; n++ {
		slot := int(n % uint64(limit))
		put(slot, n, &r.slots[slot])
	}
	r.saved = r.next
}

// load takes back what was saved, slot by slot in their order.
func (r *recent[T]) load(slot int, n uint64, x T) error {
	if slot != len(r.slots) {
		return errCorrupt
	}
	r.slots = append(r.slots, x)
	r.next = max(r.next, n+1)
	r.saved = r.next
	return nil
}
