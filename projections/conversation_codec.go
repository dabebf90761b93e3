package projections

import (
	"encoding/binary"

	"github.com/receiptd/receiptd/events"
)

// Flags of a stored conversation.
const (
	convGroup     = 1 << 0
	convDissolved = 1 << 1
)

// encodeHeader appends what is stored under the conversation's own key: both sides of a single
// chat, too, but not the members of a group.
func (c *conversation) encodeHeader(dst []byte) []byte {
	var flags byte
	if c.group() {
		flags |= convGroup
	}
	if c.dissolved {
		flags |= convDissolved
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(c.app.num))
	dst = binary.AppendUvarint(dst, c.sent)
	if !c.group() {
		dst = appendString(appendString(dst, c.name.a), c.name.b)
		for i := range c.members {
			dst = c.places[i].encode(c.members[i].encodeRead(dst))
		}
		return dst
	}
	dst = appendString(dst, c.name.group)
	dst = appendString(dst, c.creator)
	dst = binary.AppendUvarint(dst, uint64(len(c.members)))
	dst = binary.AppendUvarint(dst, uint64(c.active))
	dst = appendInt(dst, c.day)
	dst = binary.AppendUvarint(dst, uint64(c.requests))
	dst = binary.AppendUvarint(dst, c.unlisted)
	dst = binary.AppendUvarint(dst, uint64(c.admins))
	return binary.AppendUvarint(dst, uint64(c.first))
}

func (c *conversation) decodeHeader(v []byte) (appNum uint64, members int, err error) {
	r := reader{b: v}
	flags := r.byte()
	c.dissolved = flags&convDissolved != 0
	appNum = r.uvarint()
	c.sent = r.uvarint()
	if flags&convGroup == 0 {
		c.name.a, c.name.b = r.string(), r.string()
		c.active = 2
		c.members = []member{{user: c.name.a, role: events.RoleMember}, {user: c.name.b, role: events.RoleMember}}
		for i := range c.members {
			c.members[i].decodeRead(&r)
			c.places[i].decode(&r)
		}
		return appNum, 2, r.err()
	}
	c.name.group = r.string()
	c.creator = r.string()
	members = int(r.uvarint())
	c.active = int(r.uvarint())
	c.day = r.varint()
	c.requests = int(r.uvarint())
	if len(r.b) == 0 { // written by a version without what follows
		c.unlisted = c.sent
		return appNum, members, r.err()
	}
	c.unlisted = r.uvarint()
	c.admins, c.first = int(r.uvarint()), int(r.uvarint())
	if c.first > members || c.admins > c.first {
		r.bad = true
	}
	return appNum, members, r.err()
}

// encodeRead appends the part of a member that both kinds of conversation have.
func (m *member) encodeRead(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, m.base)
	dst = binary.AppendUvarint(dst, m.watermark)
	return appendInt(dst, m.lastReadAt)
}

func (m *member) decodeRead(r *reader) {
	m.base = r.uvarint()
	m.watermark = r.uvarint()
	m.lastReadAt = r.varint()
}

// encode appends a member of a group, which has a key of its own.
func (m *member) encode(dst []byte) []byte {
	dst = appendString(dst, m.user)
	dst = append(dst, byte(m.role))
	dst = m.encodeRead(dst)
	dst = binary.AppendUvarint(dst, m.joined)
	dst = binary.AppendUvarint(dst, m.left)
	for _, s := range m.earlier {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.joined), s.left)
	}
	return dst
}

func (m *member) decode(v []byte) error {
	r := reader{b: v}
	m.user = r.string()
	m.role = events.Role(r.byte())
	m.decodeRead(&r)
	m.joined = r.uvarint()
	m.left = r.uvarint()
	for len(r.b) > 0 && !r.bad {
		m.earlier = append(m.earlier, span{joined: r.uvarint(), left: r.uvarint()})
	}
	return r.err()
}
