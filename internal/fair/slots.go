package fair

import (
	"container/heap"
	"container/list"
	"slices"
	"sync"
)

// Slots is a number of slots that are held for long, such as those of connections, or the bytes
// of what waits for somebody. As long as there are any, whoever asks gets one. When all are taken,
// a tenant gets those of the tenants who hold most by weight, unless it would then hold as much
// itself: so whoever holds few always gets one, and two who hold the same do not take them from
// each other. A tenant who holds none is not remembered. Its methods may be called from many
// goroutines.
type Slots struct {
	most   int
	weight func(tenant string) int

	mu      sync.Mutex
	taken   int
	holders map[string]*holder
	order   ordered[*holder] // the same
}

// holder is a tenant, and the slots it holds.
type holder struct {
	tenant string
	weight float64
	slots  list.List // of *Slot, the one taken last at the end
	held   int       // the sum of their sizes
	rank             // in the order
}

// Slot is a slot that is held, or several that were taken together.
type Slot struct {
	of      *Slots
	holder  *holder
	size    int
	element *list.Element // nil once it was left or lost
	lost    func()
}

// NewSlots makes so many slots. weight is the share of a tenant beside that of others, at least
// 1; nil = 1 for each.
func NewSlots(most int, weight func(tenant string) int) *Slots {
	return &Slots{most: most, weight: weight, holders: map[string]*holder{}}
}

// Take takes a slot until [Slot.Release]; nil if there is none for the tenant. lost is called, at
// most once, when the slot has gone to another tenant: from inside that one's Take, so it must not
// wait for anything.
func (p *Slots) Take(tenant string, lost func()) *Slot { return p.TakeSize(tenant, 1, lost) }

// TakeSize takes so many slots at once, as Take does one.
func (p *Slots) TakeSize(tenant string, size int, lost func()) *Slot {
	slot, gone := p.take(tenant, size, lost)
	for _, x := range gone {
		x.lost()
	}
	return slot
}

// take returns the slots that were lost for it, too.
func (p *Slots) take(tenant string, size int, lost func()) (slot *Slot, gone []*Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holders[tenant]
	if h == nil {
		h = &holder{tenant: tenant, weight: 1}
		if p.weight != nil {
			h.weight = float64(max(1, p.weight(tenant)))
		}
	}
	for p.taken+size > p.most {
		x := p.gives(h, size)
		if x == nil {
			for _, x := range slices.Backward(gone) {
				p.add(x)
			}
			return nil, nil
		}
		p.remove(x)
		gone = append(gone, x)
	}
	slot = &Slot{of: p, holder: h, size: size, lost: lost}
	p.add(slot)
	return slot, gone
}

// add gives its holder a slot. p.mu is held.
func (p *Slots) add(x *Slot) {
	h := x.holder
	x.element = h.slots.PushBack(x)
	h.held += x.size
	p.taken += x.size
	if h.slots.Len() == 1 {
		p.holders[h.tenant] = h
		heap.Push(&p.order, h)
	} else {
		heap.Fix(&p.order, h.at)
	}
}

// gives is a slot that a tenant who wants so many may have, nil if there is none. p.mu is held.
func (p *Slots) gives(to *holder, size int) *Slot {
	if len(p.order) == 0 {
		return nil
	}
	from := p.order[0]
	if from == to || float64(to.held+size)/to.weight >= from.share() {
		return nil
	}
	return from.slots.Back().Value.(*Slot)
}

// Release gives a slot back. It may be called again, and after the slot was lost.
func (x *Slot) Release() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	if x.element != nil {
		x.of.remove(x)
	}
}

// remove takes a slot from its holder. p.mu is held.
func (p *Slots) remove(x *Slot) {
	h := x.holder
	h.slots.Remove(x.element)
	x.element = nil
	h.held -= x.size
	p.taken -= x.size
	if h.slots.Len() > 0 {
		heap.Fix(&p.order, h.at)
		return
	}
	heap.Remove(&p.order, h.at)
	delete(p.holders, h.tenant)
}

// Taken is how many slots are held.
func (p *Slots) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Of is how many slots a tenant holds.
func (p *Slots) Of(tenant string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holders[tenant]; h != nil {
		return h.held
	}
	return 0
}

func (h *holder) share() float64 { return float64(h.held) / h.weight }

// before is the order of those who hold slots: the first holds most by weight.
func (h *holder) before(other *holder) bool { return h.share() > other.share() }
