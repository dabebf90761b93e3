package projections

import (
	"encoding/binary"
	"strconv"
)

// A message in a block is its sender's ordinal, above flags, and its id: the distance of its number
// from the one before it in the block, if both are numbers, or else the length of what it is packed
// into, and that.
const (
	blockRecalled = 0 // instead of flags
	blockMessage  = 1 << 0
	blockSilent   = 1 << 1
	blockNear     = 1 << 2 // the id is a distance
	blockFlags    = 3      // bits
)

type blockEncoder struct {
	v    []byte
	id   []byte
	last uint64 // the number that the last id is; 0 = none
}

// reset begins a block.
func (e *blockEncoder) reset() { e.v, e.last = e.v[:0], 0 }

func (e *blockEncoder) add(x *unreadRef) {
	head := uint64(x.sender)<<blockFlags | blockMessage
	if x.silent {
		head |= blockSilent
	}
	n, _ := packedNumber(x.id)
	near := n != 0 && e.last != 0
	if near {
		head |= blockNear
	}
	e.v = binary.AppendUvarint(e.v, head)
	if near {
		e.v = binary.AppendVarint(e.v, int64(n-e.last))
	} else {
		e.id = appendPacked(e.id[:0], x.id)
		e.v = append(binary.AppendUvarint(e.v, uint64(len(e.id))), e.id...)
	}
	e.last = n
}

type blockDecoder struct {
	r       reader
	members int
	last    uint64
}

// next is the next message, false if that was recalled. It means nothing if the reader is bad.
func (d *blockDecoder) next() (x unreadRef, ok bool) {
	head := d.r.uvarint()
	if head == blockRecalled {
		return x, false
	}
	sender := head >> blockFlags
	x.sender, x.silent = uint32(sender), head&blockSilent != 0
	if head&blockMessage == 0 || sender >= uint64(d.members) {
		d.r.bad = true
		return x, false
	}
	if head&blockNear == 0 {
		id, ok := unpackID(d.r.bytes())
		x.id = id
		d.last, _ = packedNumber(id)
		d.r.bad = d.r.bad || !ok
		return x, true
	}
	d.r.bad = d.r.bad || d.last == 0
	d.last += uint64(d.r.varint())
	x.id = strconv.FormatUint(d.last, 10)
	return x, true
}
