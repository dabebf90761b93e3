package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// What a message is to the rules.
const (
	msgPlain    uint8 = iota // a group message that did not ask for receipts
	msgTracked               // collects receipts
	msgOversize              // asked, but the group was above the limit
	msgRecalled uint8 = 1 << 7
)

// header is the fixed part of a message. A checkpoint copies it.
type header struct {
	kind     uint8 // msgPlain, msgTracked or msgOversize, with msgRecalled
	sender   uint32
	eligible uint32
	seq      uint64
	sentAt   int64
	// deliveredAt is for single chats; 0 = not delivered by a receipt of its own.
	deliveredAt int64
	// pending is the message's place in its sender's summary.
	place summaryPlace
	// lastAt is the time of the last read and last its reader.
	lastAt  int64
	last    uint32
	readers uint32
}

func (h *header) recalled() bool { return h.kind&msgRecalled != 0 }
func (h *header) state() uint8   { return h.kind &^ msgRecalled }

// message is one message with its read set.
//
// The read set is the log of its readers as it is stored: for each, in the order of reading, the
// ordinal and the time since the reader before (the first: since sending), as uvarints, and the
// content if there is one. It only grows, so a checkpoint can write a prefix of it while the fold
// goes on appending. The bits tell in one look whether a member is in it.
type message struct {
	node
	header
	conv *conversation
	id   string
	log  []byte
	bits [2]uint64
	more []uint64 // ordinals from 128
	// author is the sender's summary, and cohort the message's place in the rollup, once it was needed.
	author *author
	cohort *cohort
}

const messageCost = 288

func (m *message) cacheNode() *node { return &m.node }

func (m *message) cost() int { return messageCost + 2*len(m.id) + cap(m.log) + 8*cap(m.more) }

func (m *message) forget(p *Partition) {
	delete(m.conv.messages, m.id)
	m.conv.refs--
	if m.author != nil {
		m.author.refs--
	}
	if m.cohort != nil {
		m.cohort.refs--
	}
}

// hasRead reports whether the member is in the read set.
func (m *message) hasRead(ordinal uint32) bool {
	if ordinal < 128 {
		return m.bits[ordinal>>6]>>(ordinal&63)&1 != 0
	}
	i := int(ordinal-128) >> 6
	return i < len(m.more) && m.more[i]>>(ordinal&63)&1 != 0
}

func (m *message) setRead(ordinal uint32) {
	if ordinal < 128 {
		m.bits[ordinal>>6] |= 1 << (ordinal & 63)
		return
	}
	i := int(ordinal-128) >> 6
	if i >= len(m.more) {
		m.more = append(m.more, make([]uint64, i+1-len(m.more))...)
	}
	m.more[i] |= 1 << (ordinal & 63)
}

// addReader appends to the read set. The caller has seen that the member is not in it, and at is not
// before the last reader's time nor before sending.
func (m *message) addReader(ordinal uint32, at int64, content string) {
	before := m.lastAt
	if m.readers == 0 {
		before = m.sentAt
	}
	tag := uint64(ordinal) << 1
	if content != "" {
		tag |= 1
	}
	m.log = binary.AppendUvarint(m.log, tag)
	m.log = binary.AppendUvarint(m.log, uint64(at-before))
	if content != "" {
		m.log = appendString(m.log, content)
	}
	m.setRead(ordinal)
	m.readers++
	m.last, m.lastAt = ordinal, at
}

// addReader puts a member who has not read the message into its read set, now.
func (p *Partition) addReader(m *message, ordinal uint32, content string) error {
	before := m.cost()
	m.addReader(ordinal, p.clock, content)
	p.cacheBytes += m.cost() - before
	return p.rollRead(m)
}

// eachReader calls f in the order of reading until it returns false.
func (m *message) eachReader(f func(ordinal uint32, at int64, content []byte) bool) error {
	r := reader{b: m.log}
	at := m.sentAt
	for len(r.b) > 0 {
		tag := r.uvarint()
		at += int64(r.uvarint())
		var content []byte
		if tag&1 != 0 {
			content = r.bytes()
		}
		if r.bad || tag>>1 >= events.MaxGroupMembers {
			return errCorrupt
		}
		if !f(uint32(tag>>1), at, content) {
			return nil
		}
	}
	return nil
}

// firstAt is the time of the first read; 0 if nobody has read.
func (m *message) firstAt() int64 {
	if m.readers == 0 {
		return 0
	}
	r := reader{b: m.log}
	r.uvarint()
	return m.sentAt + int64(r.uvarint())
}

// delivered is the delivery count: reading implies it.
func (m *message) delivered() int {
	if m.deliveredAt != 0 && m.readers == 0 {
		return 1
	}
	return int(m.readers)
}

// encode appends the stored form: the header's numbers, small ones in a byte each, then the read set.
func (h *header) encode(dst, log []byte) []byte {
	dst = append(dst, h.kind)
	dst = binary.AppendUvarint(dst, uint64(h.sender))
	dst = binary.AppendUvarint(dst, uint64(h.eligible))
	dst = binary.AppendUvarint(dst, h.seq)
	dst = appendInt(dst, h.sentAt)
	delivered := int64(0) // 0 = none, else 1 + time since sending
	if h.deliveredAt != 0 {
		delivered = h.deliveredAt - h.sentAt + 1
	}
	dst = binary.AppendUvarint(dst, uint64(delivered))
	return append(h.place.encode(dst), log...)
}

func (m *message) decode(v []byte) error {
	r := reader{b: v}
	m.kind = r.byte()
	m.sender = uint32(r.uvarint())
	m.eligible = uint32(r.uvarint())
	m.seq = r.uvarint()
	m.sentAt = r.varint()
	if d := r.uvarint(); d != 0 {
		m.deliveredAt = m.sentAt + int64(d) - 1
	}
	m.place.decode(&r)
	if r.bad {
		return errCorrupt
	}
	m.log = append(make([]byte, 0, len(r.b)+len(r.b)/4+8), r.b...)
	return m.eachReader(func(o uint32, at int64, _ []byte) bool {
		m.setRead(o)
		m.readers++
		m.last, m.lastAt = o, at
		return true
	})
}

func (p *Partition) touchMessage(m *message) {
	if m.epoch != p.epoch {
		m.epoch = p.epoch
		p.dirtyMessages = append(p.dirtyMessages, m)
	}
}

// newMessage makes a message that the state does not know yet.
func (p *Partition) newMessage(c *conversation, id string, h header) *message {
	m := &message{header: h, conv: c, id: id}
	p.keepMessage(m)
	p.touchMessage(m)
	p.dirty.addMessage(idRef{c.app.num, id}, c.num)
	return m
}

func (p *Partition) keepMessage(m *message) {
	m.used = true
	m.conv.messages[m.id] = m
	m.conv.refs++
	p.messageRing.add(m)
	p.cacheBytes += m.cost()
}

// message returns the message with the id in the conversation, or nil if there is none.
func (p *Partition) message(c *conversation, id string) (*message, error) {
	if m := c.messages[id]; m != nil {
		m.used = true
		return m, nil
	}
	v, err := p.back.Get(messageKey(p.key(), c.app.num, id, c.num))
	if v == nil || err != nil {
		return nil, err
	}
	m := &message{conv: c, id: strings.Clone(id)}
	if err := m.decode(v); err != nil {
		return nil, err
	}
	p.keepMessage(m)
	return m, nil
}
