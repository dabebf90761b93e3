package projections

import (
	"encoding/binary"

	"github.com/receiptd/receiptd/events"
)

// Flags of a stored conversation.
const (
	convGroup     = 1 << 0
	convDissolved = 1 << 1
	convSilent    = 1 << 2 // the number of silent messages comes at the end
	convExtras    = 1 << 3 // what few sides of a single chat have comes after that
	convImported  = 1 << 4 // the time of the last event that was imported comes last
	convBlocks    = 1 << 5 // a group lists its messages in blocks
)

// roleExtra is set in the stored role of a member who has what only few have.
const roleExtra = 1 << 7

// encodeHeader appends what is stored under the conversation's own key: both sides of a single
// chat, too, but not the members of a group.
func (c *conversation) encodeHeader(dst []byte) []byte {
	var flags byte
	if c.group() {
		flags |= convGroup | convBlocks
	}
	if c.dissolved {
		flags |= convDissolved
	}
	if c.silent > 0 {
		flags |= convSilent
	}
	if c.imported != 0 {
		flags |= convImported
	}
	extras := !c.group() && (c.members[0].extra != nil || c.members[1].extra != nil)
	if extras {
		flags |= convExtras
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(c.app.num))
	dst = binary.AppendUvarint(dst, c.sent)
	if !c.group() {
		dst = appendString(appendString(dst, c.name.a), c.name.b)
		for i := range c.members {
			dst = c.places[i].encode(c.members[i].encodeRead(dst))
		}
		if c.silent > 0 {
			dst = binary.AppendUvarint(dst, c.silent)
		}
		for i := 0; extras && i < len(c.members); i++ {
			dst = c.members[i].extra.encode(dst)
		}
		return c.encodeImported(dst)
	}
	dst = appendString(dst, c.name.group)
	dst = appendString(dst, c.creator)
	dst = binary.AppendUvarint(dst, uint64(len(c.members)))
	dst = binary.AppendUvarint(dst, uint64(c.active))
	dst = appendInt(dst, c.day)
	dst = binary.AppendUvarint(dst, uint64(c.requests))
	dst = binary.AppendUvarint(dst, c.unlisted)
	dst = binary.AppendUvarint(dst, c.rowed)
	dst = binary.AppendUvarint(dst, uint64(c.admins))
	dst = binary.AppendUvarint(dst, uint64(c.first))
	if c.silent > 0 {
		dst = binary.AppendUvarint(dst, c.silent)
	}
	return c.encodeImported(dst)
}

func (c *conversation) encodeImported(dst []byte) []byte {
	if c.imported == 0 {
		return dst
	}
	return appendInt(dst, c.imported)
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
		if flags&convSilent != 0 {
			c.silent = r.uvarint()
		}
		for i := 0; flags&convExtras != 0 && i < len(c.members); i++ {
			c.members[i].extra = decodeExtra(&r)
		}
		if flags&convImported != 0 {
			c.imported = r.varint()
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
		c.unlisted, c.rowed = c.sent, c.sent
		return appNum, members, r.err()
	}
	c.unlisted = r.uvarint()
	if c.rowed = c.sent; flags&convBlocks != 0 {
		c.rowed = r.uvarint()
	}
	c.admins, c.first = int(r.uvarint()), int(r.uvarint())
	if c.first > members || c.admins > c.first {
		r.bad = true
	}
	if flags&convSilent != 0 {
		c.silent = r.uvarint()
	}
	if flags&convImported != 0 {
		c.imported = r.varint()
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
	role := byte(m.role)
	if m.extra != nil {
		role |= roleExtra
	}
	dst = append(dst, role)
	dst = m.encodeRead(dst)
	dst = binary.AppendUvarint(dst, m.joined)
	dst = binary.AppendUvarint(dst, m.left)
	if m.extra != nil {
		dst = m.extra.encode(dst)
	}
	for _, s := range m.earlier {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.joined), s.left)
	}
	return dst
}

func (m *member) decode(v []byte) error {
	r := reader{b: v}
	m.user = r.string()
	role := r.byte()
	m.role = events.Role(role &^ roleExtra)
	m.decodeRead(&r)
	m.joined = r.uvarint()
	m.left = r.uvarint()
	if role&roleExtra != 0 {
		m.extra = decodeExtra(&r)
	}
	for len(r.b) > 0 && !r.bad {
		m.earlier = append(m.earlier, span{joined: r.uvarint(), left: r.uvarint()})
	}
	return r.err()
}
