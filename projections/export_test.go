package projections

import "slices"

// CacheSize is what the partition counts as the memory of its cache, and what its cached objects come to.
func (p *Partition) CacheSize() (counted, actual int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messageRing.items {
		actual += m.cost()
	}
	for _, c := range p.convRing.items {
		actual += c.cost()
	}
	for _, u := range p.authorRing.items {
		actual += u.cost()
	}
	for _, x := range slices.Concat(p.cellRing.items, p.totalRing.items) {
		actual += x.cost()
	}
	return p.cacheBytes, actual
}
