package fair

import (
	"container/heap"
	"container/list"
	"slices"
	"sync"
)

// Places is a number of places that are held for long, such as those of connections, or the bytes
// of what waits for somebody. As long as there are any, whoever asks gets one. When all are taken,
// a tenant gets those of the tenants who hold most by weight, unless it would then hold as much
// itself: so who holds few always gets one, and two who hold the same do not take them from each
// other. A tenant who holds none is not remembered. Its methods may be called from many goroutines.
type Places struct {
	most   int
	weight func(tenant string) int

	mu      sync.Mutex
	taken   int
	holders map[string]*holder
	order   ordered[*holder] // the same
}

// holder is a tenant who holds places.
type holder struct {
	tenant string
	weight float64
	places list.List // of *Place, the one taken last at the end
	held   int       // the sum of their sizes
	rank             // in the order
}

// Place is one that is held, or several as one.
type Place struct {
	of      *Places
	holder  *holder
	size    int
	element *list.Element // nil once it was left or lost
	lost    func()
}

// NewPlaces makes so many places. weight is the share of a tenant beside that of others, at least
// 1; nil = 1 for each.
func NewPlaces(most int, weight func(tenant string) int) *Places {
	return &Places{most: most, weight: weight, holders: map[string]*holder{}}
}

// Take takes a place until [Place.Leave]; nil if there is none for the tenant. lost is called, at
// most once, when the place has gone to another tenant: from inside that one's Take, so it must not
// wait for anything.
func (p *Places) Take(tenant string, lost func()) *Place { return p.TakeSize(tenant, 1, lost) }

// TakeSize takes so many places at once, as Take does one.
func (p *Places) TakeSize(tenant string, size int, lost func()) *Place {
	place, gone := p.take(tenant, size, lost)
	for _, x := range gone {
		x.lost()
	}
	return place
}

// take returns the places that were lost for it, too.
func (p *Places) take(tenant string, size int, lost func()) (place *Place, gone []*Place) {
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
	place = &Place{of: p, holder: h, size: size, lost: lost}
	p.add(place)
	return place, gone
}

// add gives its holder a place. p.mu is held.
func (p *Places) add(x *Place) {
	h := x.holder
	x.element = h.places.PushBack(x)
	h.held += x.size
	p.taken += x.size
	if h.places.Len() == 1 {
		p.holders[h.tenant] = h
		heap.Push(&p.order, h)
	} else {
		heap.Fix(&p.order, h.at)
	}
}

// gives is a place that a tenant who wants so many may have, nil if there is none. p.mu is held.
func (p *Places) gives(to *holder, size int) *Place {
	if len(p.order) == 0 {
		return nil
	}
	from := p.order[0]
	if from == to || float64(to.held+size)/to.weight >= from.share() {
		return nil
	}
	return from.places.Back().Value.(*Place)
}

// Leave gives a place back. It may be called again, and after the place was lost.
func (x *Place) Leave() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	if x.element != nil {
		x.of.remove(x)
	}
}

// remove takes a place from its holder. p.mu is held.
func (p *Places) remove(x *Place) {
	h := x.holder
	h.places.Remove(x.element)
	x.element = nil
	h.held -= x.size
	p.taken -= x.size
	if h.places.Len() > 0 {
		heap.Fix(&p.order, h.at)
		return
	}
	heap.Remove(&p.order, h.at)
	delete(p.holders, h.tenant)
}

// Taken is how many places are held.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Of is how many places a tenant holds.
func (p *Places) Of(tenant string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holders[tenant]; h != nil {
		return h.held
	}
	return 0
}

func (h *holder) share() float64 { return float64(h.held) / h.weight }

// before is the order of those who hold places: the first holds most by weight.
func (h *holder) before(other *holder) bool { return h.share() > other.share() }
