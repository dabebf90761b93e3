package projections

import (
	"slices"

	"github.com/DataDog/sketches-go/ddsketch/store"
)

// Merge adds all times of another distribution.
func (d *Distribution) Merge(o *Distribution) {
	d.total += o.total
	d.zero += o.zero
	if o.bins == nil {
		return
	}
	if d.bins == nil {
		d.bins = store.NewDenseStore()
	}
	d.bins.MergeWith(o.bins)
}

// SmallSteps makes a scan take many small steps.
func (s *RateScan) SmallSteps() { s.stepChanged, s.stepStored = 1, 2 }

// Bound makes a scan refuse more than this.
func (s *RateScan) Bound(cohorts, rows int) { s.maxCohorts, s.maxRows = cohorts, rows }

// CacheSize is what the partition counts as the memory of its cache, and what its cached objects
// add up to.
func (p *Partition) CacheSize() (counted, actual int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.cache.messages.items {
		actual += m.cost()
	}
	for _, c := range p.cache.conversations.items {
		actual += c.cost()
	}
	for _, u := range p.cache.authors.items {
		actual += u.cost()
	}
	for _, u := range p.cache.users.items {
		actual += u.cost()
	}
	for _, x := range slices.Concat(p.cache.cohorts.items, p.cache.totals.items) {
		actual += x.cost()
	}
	return p.cache.bytes, actual
}
