package projections

import (
	"encoding/binary"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// memberExtra is what only few members have.
type memberExtra struct {
	userSettings // for this conversation
	// marked: the member wants to find the conversation among the unread ones.
	marked bool
	// stays: a read was hidden that moved the watermark or lastReadAt, so that others are shown
	// these instead.
	stays bool
	shown struct {
		watermark  uint64
		lastReadAt int64
	}
	// alone are the messages above the watermark that were read alone, by seq.
	alone []uint64
}

// userSettings is what a user has set, for one conversation or for all.
type userSettings struct {
	reads, deliveries events.Choice
	revision          uint64 // 0 = nothing was set
}

// memberExtraCost is the memory of a memberExtra without what is read alone.
const memberExtraCost = 80

func (x *memberExtra) cost() int {
	if x == nil {
		return 0
	}
	return memberExtraCost + 8*cap(x.alone)
}

func (x *memberExtra) empty() bool {
	return x.revision == 0 && !x.marked && !x.stays && len(x.alone) == 0
}

// alter changes what only few members have.
func (p *Partition) alter(c *conversation, o uint32, f func(*memberExtra)) {
	u := &c.members[o]
	before := u.extra.cost()
	if u.extra == nil {
		u.extra = new(memberExtra)
	}
	f(u.extra)
	if u.extra.empty() {
		u.extra = nil
	}
	p.cache.bytes += u.extra.cost() - before
	p.changes.touchMember(c, o)
}

// shown is what others may be shown of how far a member has read.
func (m *member) shown() (watermark uint64, lastReadAt int64) {
	if x := m.extra; x != nil && x.stays {
		return x.shown.watermark, x.shown.lastReadAt
	}
	return m.watermark, m.lastReadAt
}

// keepShown keeps what others are shown as it is, before a hidden read.
func (p *Partition) keepShown(c *conversation, o uint32) {
	u := &c.members[o]
	if u.extra != nil && u.extra.stays {
		return
	}
	p.alter(c, o, func(x *memberExtra) {
		x.stays, x.shown.watermark, x.shown.lastReadAt = true, u.watermark, u.lastReadAt
	})
}

// showAll has others shown the member's own numbers again.
func (p *Partition) showAll(c *conversation, o uint32) {
	if x := c.members[o].extra; x != nil && x.stays {
		p.alter(c, o, func(x *memberExtra) { x.stays = false })
	}
}

func (m *member) marked() bool { return m.extra != nil && m.extra.marked }

// unmark takes the member's mark away.
func (p *Partition) unmark(c *conversation, o uint32) {
	if c.members[o].marked() {
		p.alter(c, o, func(x *memberExtra) { x.marked = false })
	}
}

// hasReadAlone reports whether a message above the watermark was read alone.
func (m *member) hasReadAlone(seq uint64) bool {
	if m.extra == nil {
		return false
	}
	_, found := slices.BinarySearch(m.extra.alone, seq)
	return found
}

// passAlone forgets the messages read alone that the watermark has passed.
func (p *Partition) passAlone(c *conversation, o uint32) {
	u := &c.members[o]
	if u.extra == nil || len(u.extra.alone) == 0 || u.extra.alone[0] > u.watermark {
		return
	}
	p.alter(c, o, func(x *memberExtra) {
		n, found := slices.BinarySearch(x.alone, u.watermark)
		if found {
			n++
		}
		x.alone = slices.Clone(x.alone[n:])
	})
}

// Flags of a stored memberExtra: which parts follow.
const (
	extraSettings = 1 << iota
	extraMarked
	extraStays
	extraAlone
)

// encode appends the stored layout: flags, and what they say that there is.
func (x *memberExtra) encode(dst []byte) []byte {
	if x == nil {
		return append(dst, 0)
	}
	at := len(dst)
	dst = append(dst, 0)
	if x.revision != 0 {
		dst[at] |= extraSettings
		dst = x.userSettings.encode(dst)
	}
	if x.marked {
		dst[at] |= extraMarked
	}
	if x.stays {
		dst[at] |= extraStays
		dst = appendInt(binary.AppendUvarint(dst, x.shown.watermark), x.shown.lastReadAt)
	}
	if len(x.alone) > 0 {
		dst[at] |= extraAlone
		dst = binary.AppendUvarint(dst, uint64(len(x.alone)))
		last := uint64(0)
		for _, seq := range x.alone {
			dst = binary.AppendUvarint(dst, seq-last)
			last = seq
		}
	}
	return dst
}

func decodeExtra(r *reader) *memberExtra {
	flags := r.byte()
	if flags == 0 || r.bad {
		return nil
	}
	x := &memberExtra{marked: flags&extraMarked != 0, stays: flags&extraStays != 0}
	if flags&extraSettings != 0 {
		x.userSettings.decode(r)
	}
	if x.stays {
		x.shown.watermark, x.shown.lastReadAt = r.uvarint(), r.varint()
	}
	if flags&extraAlone != 0 {
		n := r.uvarint()
		if n > uint64(len(r.b)) { // each takes a byte or more
			r.bad = true
			return nil
		}
		x.alone = make([]uint64, n)
		last := uint64(0)
		for i := range x.alone {
			last += r.uvarint()
			x.alone[i] = last
		}
	}
	return x
}

// encode appends the stored layout: both choices, and the revision.
func (s *userSettings) encode(dst []byte) []byte {
	return binary.AppendUvarint(append(dst, byte(s.reads), byte(s.deliveries)), s.revision)
}

func (s *userSettings) decode(r *reader) {
	s.reads, s.deliveries = events.Choice(r.byte()), events.Choice(r.byte())
	s.revision = r.uvarint()
	if s.reads > events.ChoiceHide || s.deliveries > events.ChoiceHide {
		r.bad = true
	}
}
