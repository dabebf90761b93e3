package projections

import (
	"encoding/binary"
	"slices"
)

// unreadRef is a message of a single chat that no conversation read of its receiver has covered, or
// any message of a group. One that was recalled is neither.
type unreadRef struct {
	sender uint32 // ordinal
	id     string // single chats only
}

// unreadCost is the memory of one unreadRef, its id included.
const unreadCost = 64

// unreadAfter are the conversation's messages after a seq, in a single chat those that no
// conversation read has covered, by seq. Some from before the seq may come first.
func (p *Partition) unreadAfter(c *conversation, seq uint64) ([]tailItem[unreadRef], error) {
	var list []tailItem[unreadRef]
	if seq < c.unread.cut {
		from, end := unreadKey(nil, c.num, seq+1), unreadKey(nil, c.num, c.unread.cut+1)
		err := p.back.Range(from, end, func(key, value []byte) error {
			r := reader{b: value}
			sender := uint32(r.uvarint())
			if len(key) != len(from) || r.bad || int(sender) >= len(c.members) {
				return errCorrupt
			}
			// What was recalled since the last checkpoint is still there.
			if n := binary.BigEndian.Uint64(key[len(key)-8:]); !c.justRecalled(n) {
				list = append(list, tailItem[unreadRef]{n: n, value: unreadRef{sender: sender, id: string(r.b)}})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return append(list, c.unread.items...), nil
}

func (p *Partition) addUnread(c *conversation, seq uint64, ref unreadRef) {
	before := len(c.unread.items)
	c.unread.add(p, seq, ref)
	p.cache.bytes += unreadCost * (len(c.unread.items) - before)
	value := append(binary.AppendUvarint(p.scratch.value[:0], uint64(ref.sender)), ref.id...)
	p.scratch.value = value
	p.changes.put(unreadKey(p.scratch.key(), c.num, seq), value)
}

// dropRecalled takes a message that is being recalled out of those that may be unread.
func (p *Partition) dropRecalled(c *conversation, seq uint64) {
	p.dropUnread(c, seq)
	c.recalled = slices.DeleteFunc(c.recalled, func(x tailItem[struct{}]) bool { return x.epoch <= p.changes.committed })
	c.recalled = append(c.recalled, tailItem[struct{}]{n: seq, epoch: p.changes.epoch})
	p.changes.touchConv(c) // it stays in memory until the checkpoint has this
}

// justRecalled reports whether a message was recalled since the last checkpoint, or shortly before.
func (c *conversation) justRecalled(seq uint64) bool {
	return slices.ContainsFunc(c.recalled, func(x tailItem[struct{}]) bool { return x.n == seq })
}

// dropUnread takes a message out of those that may be unread, if it is one.
func (p *Partition) dropUnread(c *conversation, seq uint64) {
	before := len(c.unread.items)
	c.unread.remove(seq)
	p.cache.bytes += unreadCost * (len(c.unread.items) - before)
	p.changes.del(unreadKey(p.scratch.key(), c.num, seq))
}
