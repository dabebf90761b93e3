package projections

import (
	"encoding/binary"
	"errors"
	"slices"
)

// unreadRef is a message of a single chat that no conversation read of its receiver has covered, or
// any message of a group. One that was recalled is neither.
type unreadRef struct {
	sender uint32 // ordinal
	silent bool
	// id of the message; empty in a group whose message an earlier version folded.
	id string
}

// silentRef is added to the stored sender of a silent message.
const silentRef = 1 << 32

func (x *unreadRef) encode(dst []byte) []byte {
	sender := uint64(x.sender)
	if x.silent {
		sender += silentRef
	}
	return appendPacked(binary.AppendUvarint(dst, sender), x.id)
}

func (x *unreadRef) decode(v []byte, members int) error {
	r := reader{b: v}
	sender := r.uvarint()
	id, ok := unpackID(r.b)
	x.silent, x.sender, x.id = sender&silentRef != 0, uint32(sender), id
	if r.bad || !ok || sender >= 2*silentRef || int(x.sender) >= members {
		return errCorrupt
	}
	return nil
}

// unreadCost is the memory of one unreadRef, its id included.
const unreadCost = 64

// unreadAfter are the conversation's messages after a seq, in a single chat those that no
// conversation read has covered, by seq. Some from before the seq may come first.
func (p *Partition) unreadAfter(c *conversation, seq uint64) (list []tailItem[unreadRef], err error) {
	err = p.eachUnread(c, seq, func(n uint64, x *unreadRef) bool {
		list = append(list, tailItem[unreadRef]{n: n, value: *x})
		return true
	})
	return list, err
}

// eachUnread calls f with the messages of unreadAfter, by seq, until it returns false. f must not
// change the list.
func (p *Partition) eachUnread(c *conversation, seq uint64, f func(seq uint64, x *unreadRef) bool) error {
	if seq < c.unread.cut {
		stored, more := p.eachRow, true
		if c.group() {
			stored = p.eachStored
		}
		err := stored(c, seq+1, c.unread.cut, func(seq uint64, x *unreadRef) bool {
			more = f(seq, x)
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	for i := range c.unread.items {
		if x := &c.unread.items[i]; x.n > seq && !f(x.n, &x.value) {
			return nil
		}
	}
	return nil
}

// eachRow is eachStored for what has a row each: messages of a single chat, and those of a group
// that an earlier version folded.
func (p *Partition) eachRow(c *conversation, from, to uint64, f func(seq uint64, x *unreadRef) bool) error {
	first, end := unreadKey(nil, c.num, from), unreadKey(nil, c.num, to+1)
	err := p.back.Range(first, end, func(key, value []byte) error {
		var x unreadRef
		if err := x.decode(value, len(c.members)); err != nil || len(key) != len(first) {
			return errCorrupt
		}
		if n := binary.BigEndian.Uint64(key[len(key)-8:]); !c.justRecalled(n) && !f(n, &x) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (p *Partition) addUnread(c *conversation, seq uint64, ref unreadRef) {
	keep := seq
	if c.group() {
		keep = blockStart(c.listed + 1) // the next capture writes this block and those after it
	}
	before := len(c.unread.items)
	c.unread.add(p, seq, keep, ref)
	p.cache.bytes += unreadCost * (len(c.unread.items) - before)
	if c.group() {
		return
	}
	p.scratch.value = ref.encode(p.scratch.value[:0])
	p.changes.put(unreadKey(p.scratch.key(), c.num, seq), p.scratch.value)
}

// dropRecalled takes a message that is being recalled out of those that may be unread.
func (p *Partition) dropRecalled(c *conversation, seq uint64) error {
	p.forgetUnread(c, seq)
	c.recalled = slices.DeleteFunc(c.recalled, func(x tailItem[struct{}]) bool { return x.epoch <= p.changes.committed })
	c.recalled = append(c.recalled, tailItem[struct{}]{n: seq, epoch: p.changes.epoch})
	p.changes.touchConv(c) // it stays in memory until the checkpoint has this
	if c.group() {
		return p.unlist(c, seq)
	}
	p.changes.del(unreadKey(p.scratch.key(), c.num, seq))
	return nil
}

// justRecalled reports whether a message was recalled since the last checkpoint, or shortly before.
func (c *conversation) justRecalled(seq uint64) bool {
	return slices.ContainsFunc(c.recalled, func(x tailItem[struct{}]) bool { return x.n == seq })
}

// dropUnread takes a message of a single chat out of those that may be unread, if it is one.
func (p *Partition) dropUnread(c *conversation, seq uint64) {
	p.forgetUnread(c, seq)
	p.changes.del(unreadKey(p.scratch.key(), c.num, seq))
}

func (p *Partition) forgetUnread(c *conversation, seq uint64) {
	before := len(c.unread.items)
	c.unread.remove(seq)
	p.cache.bytes += unreadCost * (len(c.unread.items) - before)
}

// isUnread reports whether a message above a member's watermark is unread to them.
func (x *unreadRef) isUnread(seq uint64, o uint32, u *member) bool {
	return x.sender != o && !x.silent && !u.hasReadAlone(seq)
}

// readAlone is what a message.read does to the reader's unread count and watermark where it counts:
// docs/rules.md, "Reads and unread".
func (p *Partition) readAlone(m *message, reader uint32, hidden bool, ago int64) error {
	c := m.conv
	u := &c.members[reader]
	if hidden {
		p.keepShown(c, reader)
	} else if u.extra != nil && u.extra.stays {
		p.alter(c, reader, func(x *memberExtra) { x.shown.lastReadAt = p.lastRead(x.shown.lastReadAt, ago) })
	}
	u.lastReadAt = p.lastRead(u.lastReadAt, ago)
	p.changes.touchMember(c, reader)
	if m.seq <= u.watermark || u.extra != nil && len(u.extra.alone) >= p.rules.limits.ReadsAhead {
		return nil
	}
	if !m.silent() {
		u.base++ // one unread less
	}
	p.alter(c, reader, func(x *memberExtra) {
		k, _ := slices.BinarySearch(x.alone, m.seq)
		x.alone = slices.Insert(x.alone, k, m.seq)
	})
	return p.passRead(c, reader)
}

// passRead moves a member's watermark on to before the first message that they have not read.
func (p *Partition) passRead(c *conversation, o uint32) error {
	u := &c.members[o]
	if u.watermark < c.unlisted { // it is not known who sent those before
		return nil
	}
	to := c.sent
	var passed []uint64
	err := p.eachUnread(c, u.watermark, func(seq uint64, x *unreadRef) bool {
		if x.sender == o || x.silent && c.group() {
			return true
		}
		if !u.hasReadAlone(seq) {
			to = seq - 1
			return false
		}
		passed = append(passed, seq)
		return true
	})
	if err != nil {
		return err
	}
	if !c.group() { // no conversation read has to look at them any more
		for _, seq := range passed {
			p.dropUnread(c, seq)
		}
	}
	u.watermark = to
	p.passAlone(c, o)
	return nil
}
