package projections

import "encoding/binary"

// The items of a summary are stored in blocks. One that is full is written once, with the items
// that are left in it then, and removed when the last of them has left: which ones are left the
// author knows, so what leaves in between changes nothing there. Those of the block that is not
// full are part of the author, who is written with each change anyway. Items that an earlier
// version stored have a row each until they leave.

// putLast puts an item at the end of a summary, in which it may be.
func (p *Partition) putLast(u *author, place *summaryPlace, conv uint64, id string) error {
	if u.lists(place.n) {
		p.removeItem(u, place.n)
	}
	place.n = u.next
	u.next++
	start := blockStart(place.n)
	before := u.cost()
	u.numbers.add(place.n)
	u.items.add(p, place.n, start, summaryRef{conv: conv, id: id})
	if place.n+1 == start+blockNumbers {
		p.putItems(u, start)
	}
	p.cache.bytes += u.cost() - before
	p.changes.touchAuthor(u)
	if u.numbers.count <= p.rules.limits.SummaryItems {
		return nil
	}
	return p.pushOut(u)
}

// putItems writes a block that has just become full. All that is left in it is in memory.
func (p *Partition) putItems(u *author, start uint64) {
	items := u.items.from(start)
	for i := range items {
		items[i].epoch = p.changes.epoch
	}
	e := &p.scratch.block
	e.items(start, items)
	p.changes.put(itemsKey(p.scratch.key(), u.app.num, u.user, start), e.v)
}

// removeItem removes an item from a summary.
func (p *Partition) removeItem(u *author, n uint64) {
	before := u.cost()
	if key := u.remove(p.scratch.key(), n); key != nil {
		p.changes.del(key)
	}
	p.cache.bytes += u.cost() - before
	p.changes.touchAuthor(u)
}

// remove takes an item out. It appends the key that goes with it to dst, and returns nil if none
// does.
func (u *author) remove(dst []byte, n uint64) []byte {
	u.numbers.remove(n)
	u.items.remove(n)
	start := blockStart(n)
	switch end := start + blockNumbers; {
	case n <= u.rowed:
		return summaryKey(dst, u.app.num, u.user, n)
	case end <= u.next && !u.numbers.hasAny(max(start, u.rowed+1), end):
		return itemsKey(dst, u.app.num, u.user, start)
	}
	return nil
}

// summaryItems are the items of a summary with numbers from one to the one before another, in the
// order in which they came into it.
func (p *Partition) summaryItems(u *author, from, end uint64) ([]tailItem[summaryRef], error) {
	if u.numbers.count == 0 || from >= u.next {
		return nil, nil
	}
	var list []tailItem[summaryRef]
	add := func(n uint64, x summaryRef) error {
		if from <= n && n < end && u.numbers.has(n) {
			list = append(list, tailItem[summaryRef]{n: n, value: x})
		}
		return nil
	}
	from = max(from, u.numbers.first)
	stored := min(end, u.items.cut+1)
	if rows := min(stored, u.rowed+1); from < rows {
		if err := p.eachItemRow(u, from, rows, add); err != nil {
			return nil, err
		}
	}
	if first := max(from, u.rowed+1); first < stored {
		if err := p.eachBlockItem(u, first, stored, add); err != nil {
			return nil, err
		}
	}
	for _, x := range u.items.from(from) {
		if x.n < end {
			list = append(list, x)
		}
	}
	return list, nil
}

// eachItemRow calls f with the items in the backing that have rows, from one number to the one
// before another. What was taken out since the last checkpoint is still there.
func (p *Partition) eachItemRow(u *author, from, end uint64, f func(n uint64, x summaryRef) error) error {
	first, last := summaryKey(nil, u.app.num, u.user, from), summaryKey(nil, u.app.num, u.user, end)
	return p.back.Range(first, last, func(key, value []byte) error {
		r := reader{b: value}
		conv := r.uvarint()
		if len(key) != len(first) || r.bad {
			return errCorrupt
		}
		return f(binary.BigEndian.Uint64(key[len(key)-8:]), summaryRef{conv: conv, id: string(r.b)})
	})
}

// eachBlockItem is eachItemRow for what is in blocks, also where it was taken out before.
func (p *Partition) eachBlockItem(u *author, from, end uint64, f func(n uint64, x summaryRef) error) error {
	first, last := itemsKey(nil, u.app.num, u.user, blockStart(from)), itemsKey(nil, u.app.num, u.user, end)
	return p.back.Range(first, last, func(key, value []byte) error {
		if len(key) != len(first) {
			return errCorrupt
		}
		return eachItem(binary.BigEndian.Uint64(key[len(key)-8:]), value, func(n uint64, x summaryRef) error {
			if n < from || n >= end {
				return nil
			}
			return f(n, x)
		})
	})
}

// items encodes items as a block: what is not among them has left it.
func (e *blockEncoder) items(start uint64, items []tailItem[summaryRef]) {
	e.reset()
	conv := uint64(0)
	for i := range items {
		x := &items[i]
		for ; start < x.n; start++ {
			e.skip()
		}
		start++
		number := zigzag(int64(x.value.conv - conv))
		conv = x.value.conv
		if x.value.id == "" {
			e.number(number, blockOther)
		} else {
			e.add(number, 0, x.value.id)
		}
	}
}

// eachItem calls f with the items of a block that begins with a number.
func eachItem(start uint64, block []byte, f func(n uint64, x summaryRef) error) error {
	if blockStart(start) != start {
		return errCorrupt
	}
	d, n, conv := blockDecoder{r: reader{b: block}}, start, uint64(0)
	for ; len(d.r.b) > 0; n++ {
		number, flags := d.number()
		if n == start+blockNumbers || d.r.bad {
			return errCorrupt
		}
		if flags == blockGone {
			continue
		}
		conv += uint64(unzigzag(number))
		x := summaryRef{conv: conv}
		if flags&blockOther == 0 {
			x.id = d.id(flags)
		}
		if d.r.bad || flags&blockOther == 0 && x.id == "" {
			return errCorrupt
		}
		if err := f(n, x); err != nil {
			return err
		}
	}
	return nil
}
