package projections

import (
	"encoding/binary"
	"math/bits"

	"github.com/receiptd/receiptd/events"
)

// A counted message has no names: of its read set are kept, by ordinal, a bit for each member who
// has read it (bits and more, as of every message), and a bit for each of them whose read is hidden
// (the bytes of log, empty as a rule). So each counts once, and the count is the size of the set: a
// message takes two bits for each member that its group ever had, at most.

// collects reports whether receipts are kept of the message, with or without names.
func (h *header) collects() bool { return h.state() == msgTracked || h.counted() }

func (h *header) counted() bool { return h.state() == msgCounted }

// countReader puts a member into the read set of a counted message. The caller has seen that the
// member is not in it.
func (m *message) countReader(ordinal uint32, at int64) {
	if m.readers == 0 || at < m.deliveredAt {
		m.deliveredAt = at
	}
	m.lastAt = max(m.lastAt, at)
	m.readers++
	m.setRead(ordinal)
}

// hideCounted puts a member into the read set of a counted message whose read is hidden.
func (m *message) hideCounted(ordinal uint32) {
	if i := int(ordinal >> 3); i >= len(m.log) {
		m.log = append(m.log, make([]byte, i+1-len(m.log))...)
	}
	m.log[ordinal>>3] |= 1 << (ordinal & 7)
	m.setRead(ordinal)
}

// hasCounted reports whether a member is one of the readers of a counted message.
func (m *message) hasCounted(ordinal uint32) bool {
	i := int(ordinal >> 3)
	return m.hasRead(ordinal) && (i >= len(m.log) || m.log[i]>>(ordinal&7)&1 == 0)
}

// stored is the read set as it is stored behind the header. It does not change any more.
func (m *message) stored() []byte {
	if !m.counted() {
		return m.log
	}
	return m.encodeCounted(nil)
}

// encodeCounted appends the stored layout: the time between the first and the last read, the bytes
// of the set, with its length before it, and those of the hidden ones, without trailing zeros.
func (m *message) encodeCounted(dst []byte) []byte {
	last := int64(0)
	if m.readers > 0 {
		last = m.lastAt - m.deliveredAt
	}
	dst = binary.AppendUvarint(dst, uint64(last))
	read := make([]byte, 0, 8*(len(m.bits)+len(m.more)))
	for _, words := range [][]uint64{m.bits[:], m.more} {
		for _, w := range words {
			read = binary.LittleEndian.AppendUint64(read, w)
		}
	}
	for len(read) > 0 && read[len(read)-1] == 0 {
		read = read[:len(read)-1]
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(read))), read...)
	return append(dst, m.log...)
}

func (m *message) decodeCounted(r *reader) error {
	last := int64(r.uvarint())
	read := r.bytes()
	hidden := r.b
	const most = (events.MaxEverMembers + 7) / 8
	if r.bad || last < 0 || len(read) > most || len(hidden) > len(read) {
		return errCorrupt
	}
	n := 0
	for i, b := range read {
		n += bits.OnesCount8(b)
		for ; b != 0; b &= b - 1 {
			m.setRead(uint32(8*i + bits.TrailingZeros8(b)))
		}
	}
	for i, b := range hidden {
		if b&^read[i] != 0 {
			return errCorrupt
		}
		n -= bits.OnesCount8(b)
	}
	m.readers = uint32(n)
	m.log = append([]byte(nil), hidden...)
	if n > 0 {
		m.lastAt = m.deliveredAt + last
	}
	return nil
}
