package projections

import "encoding/binary"

// encode appends the stored layout: the header's numbers, small ones in a byte each, then the read
// set as message.stored has it.
func (h *header) encode(dst, log []byte) []byte {
	kind := h.kind
	if h.label != 0 {
		kind |= msgLabelled
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(h.sender))
	dst = binary.AppendUvarint(dst, uint64(h.eligible))
	dst = binary.AppendUvarint(dst, h.seq)
	dst = appendInt(dst, h.sentAt)
	delivered := int64(0) // 0 = none, else 1 + time since sending
	if h.deliveredAt != 0 {
		delivered = h.deliveredAt - h.sentAt + 1
	}
	dst = binary.AppendUvarint(dst, uint64(delivered))
	dst = h.place.encode(dst)
	if h.label != 0 {
		dst = binary.AppendUvarint(dst, uint64(h.label))
	}
	return append(dst, log...)
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
	if m.kind&msgLabelled != 0 {
		m.kind &^= msgLabelled
		label := r.uvarint()
		m.label = uint16(label)
		r.bad = r.bad || label == 0 || label != uint64(m.label)
	}
	if r.bad {
		return errCorrupt
	}
	if m.counted() {
		return m.decodeCounted(&r)
	}
	m.log = append(make([]byte, 0, len(r.b)+len(r.b)/4+8), r.b...)
	return eachRead(m.log, m.sentAt, func(o uint32, at int64, _ []byte) bool {
		m.setRead(o)
		m.readers++
		if m.readers > 1 && at < m.lastAt {
			m.late = true
		} else {
			m.last, m.lastAt = o, at
		}
		return true
	}, func(o uint32) {
		m.setRead(o)
		m.hidden = true
	})
}
