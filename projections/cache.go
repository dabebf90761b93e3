package projections

// The cache of a partition holds what the fold touched lately: messages, conversations, authors, cohorts.
// What is dirty (changed since the last checkpoint was captured) or in flight (captured, not yet
// committed) stays; the rest goes by second chance when the budget is exceeded. Only a settled fold,
// between two log entries, evicts.

// node is the part of a cached object that the cache looks at.
type node struct {
	// epoch is the checkpoint that captures, or captured, the last change.
	epoch uint64
	// refs counts cached objects that point to this one.
	refs int32
	// used is the second chance.
	used bool
}

type cached interface {
	cacheNode() *node
	// cost is the memory it takes, roughly, in bytes.
	cost() int
	// forget takes it out of the maps that find it.
	forget(p *Partition)
}

// ring is a clock of cached objects with one hand.
type ring[T cached] struct {
	items []T
	hand  int
}

func (r *ring[T]) add(x T) { r.items = append(r.items, x) }

// sweep moves the hand at most twice around and evicts until want bytes are free. Objects changed
// after the committed epoch stay.
func (r *ring[T]) sweep(p *Partition, committed uint64, want int) (freed int) {
	for left := 2 * len(r.items); left > 0 && freed < want && len(r.items) > 0; left-- {
		if r.hand >= len(r.items) {
			r.hand = 0
		}
		x := r.items[r.hand]
		n := x.cacheNode()
		switch {
		case n.refs > 0 || n.epoch > committed:
			r.hand++
		case n.used:
			n.used = false
			r.hand++
		default:
			freed += x.cost()
			x.forget(p)
			last := len(r.items) - 1
			r.items[r.hand] = r.items[last]
			var zero T
			r.items[last] = zero
			r.items = r.items[:last]
		}
	}
	return freed
}
