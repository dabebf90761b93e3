package projections

import (
	"encoding/binary"
	"errors"
)

// allStored says of a conversation that was just loaded that all it lists is in the backing.
func (c *conversation) allStored() { c.unread.cut, c.listed = c.sent, c.sent }

// eachStored calls f with the messages of a group in the backing from one seq to another, both
// included, by seq, until it returns false. What was recalled since the last checkpoint is still
// there; f does not see it.
func (p *Partition) eachStored(c *conversation, from, to uint64, f func(seq uint64, x *unreadRef) bool) error {
	if from <= c.rowed {
		more := true
		err := p.eachRow(c, from, min(to, c.rowed), func(seq uint64, x *unreadRef) bool {
			more = f(seq, x)
			return more
		})
		if err != nil || !more {
			return err
		}
		from = c.rowed + 1
	}
	if from > to {
		return nil
	}
	first, end := listedKey(nil, c.num, blockStart(from)), listedKey(nil, c.num, to+1)
	err := p.back.Range(first, end, func(key, value []byte) error {
		if len(key) != len(first) {
			return errCorrupt
		}
		seq := binary.BigEndian.Uint64(key[len(key)-8:])
		if blockStart(seq) != seq {
			return errCorrupt
		}
		d := blockDecoder{r: reader{b: value}}
		for last := seq + blockNumbers; len(d.r.b) > 0; seq++ {
			x, ok := d.listed(len(c.members))
			if d.r.bad || seq == last {
				return errCorrupt
			}
			if ok && seq >= from && seq <= to && !c.justRecalled(seq) && !f(seq, &x) {
				return errStop
			}
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// openBlock brings what is stored of the block of a group's next message to memory, from where it
// is written again. Rows of an earlier version become part of the block.
func (p *Partition) openBlock(c *conversation) error {
	start := blockStart(c.sent + 1)
	if c.unread.cut < start {
		return nil
	}
	var stored []tailItem[unreadRef]
	err := p.eachStored(c, start, c.unread.cut, func(seq uint64, x *unreadRef) bool {
		stored = append(stored, tailItem[unreadRef]{n: seq, value: *x})
		return true
	})
	if err != nil {
		return err
	}
	c.unread.items = append(stored, c.unread.items...)
	c.unread.cut = start - 1
	p.cache.bytes += unreadCost * len(stored)
	for _, x := range stored {
		if x.n <= c.rowed {
			p.changes.del(unreadKey(p.scratch.key(), c.num, x.n))
		}
	}
	c.rowed = min(c.rowed, start-1)
	return nil
}

// captureListed writes the blocks of the messages that a group got since the last capture. All of
// these blocks are in memory: see addUnread.
func (p *Partition) captureListed(c *conversation) {
	if c.listed == c.sent {
		return
	}
	start := blockStart(c.listed + 1)
	items := c.unread.items
	for len(items) > 0 && items[0].n < start {
		items = items[1:]
	}
	for ; start <= c.sent; start += blockNumbers {
		n := 0
		for n < len(items) && items[n].n < start+blockNumbers {
			n++
		}
		p.putBlock(c, start, items[:n])
		items = items[n:]
	}
	c.listed = c.sent
}

// putBlock writes a block of what is left in it.
func (p *Partition) putBlock(c *conversation, start uint64, items []tailItem[unreadRef]) {
	key := listedKey(p.scratch.key(), c.num, start)
	if len(items) == 0 {
		p.changes.del(key)
		return
	}
	e := &p.scratch.block
	e.reset()
	seq := start
	for i := range items {
		for ; seq < items[i].n; seq++ {
			e.skip()
		}
		e.addListed(&items[i].value)
		seq++
	}
	p.changes.put(key, e.v)
}

// unlist takes a message that was just recalled out of what is stored of a group's list.
func (p *Partition) unlist(c *conversation, seq uint64) error {
	if seq <= c.rowed {
		p.changes.del(unreadKey(p.scratch.key(), c.num, seq))
		return nil
	}
	if seq > c.listed {
		return nil // the next capture writes its block
	}
	start := blockStart(seq)
	var left []tailItem[unreadRef]
	err := p.eachUnread(c, start-1, func(n uint64, x *unreadRef) bool {
		if n < start+blockNumbers {
			left = append(left, tailItem[unreadRef]{n: n, value: *x})
		}
		return n < start+blockNumbers
	})
	if err == nil {
		p.putBlock(c, start, left)
	}
	return err
}
