package projections

import "encoding/binary"

// unreadRef is a message of a single chat that no conversation read of its receiver has covered.
type unreadRef struct {
	sender uint32 // ordinal
	id     string
}

// unreadCost is the memory of one unreadRef, its id included.
const unreadCost = 64

// unreadAfter are a single chat's messages after a seq that no conversation read has covered, by
// seq. One that was recalled since the last checkpoint may be among them.
func (p *Partition) unreadAfter(c *conversation, seq uint64) ([]tailItem[unreadRef], error) {
	var list []tailItem[unreadRef]
	if seq < c.unread.cut {
		from, end := unreadKey(nil, c.num, seq+1), unreadKey(nil, c.num, c.unread.cut+1)
		err := p.back.Range(from, end, func(key, value []byte) error {
			if len(key) != len(from) || len(value) < 1 {
				return errCorrupt
			}
			list = append(list, tailItem[unreadRef]{
				n:     binary.BigEndian.Uint64(key[len(key)-8:]),
				value: unreadRef{sender: uint32(value[0]), id: string(value[1:])},
			})
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
	p.changes.put(unreadKey(p.scratch.key(), c.num, seq), append([]byte{byte(ref.sender)}, ref.id...))
}

// dropUnread takes a message of a single chat out of those that are not covered, if it is one.
func (p *Partition) dropUnread(c *conversation, seq uint64) {
	before := len(c.unread.items)
	c.unread.remove(seq)
	p.cache.bytes += unreadCost * (len(c.unread.items) - before)
	p.changes.del(unreadKey(p.scratch.key(), c.num, seq))
}
