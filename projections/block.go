package projections

import (
	"encoding/binary"
	"strconv"
)

// The messages of a group, and the items of a summary, are stored in blocks of consecutive numbers,
// each as a whole: of a busy list a checkpoint writes a few blocks instead of a row for each item.
// What a block holds follows from the log alone, wherever checkpoints fall.

// blockNumbers is how many numbers a block has.
const blockNumbers = 16

// blockStart is the first number of a number's block. Numbers begin with 1.
func blockStart(n uint64) uint64 { return (n-1)/blockNumbers*blockNumbers + 1 }

// An element of a block is a number above flags, and an id: the distance of its number from the one
// before it in the block, if both are numbers, or else the length of what it is packed into, and
// that.
const (
	blockGone  = 0 // instead of flags: what had this place has left the list
	blockHas   = 1 << 0
	blockOther = 1 << 1 // a silent message; an item that is a chat, and has no id
	blockNear  = 1 << 2 // the id is a distance
	blockFlags = 3      // bits
)

type blockEncoder struct {
	v    []byte
	id   []byte
	last uint64 // the number that the last id is; 0 = none
}

// reset begins a block.
func (e *blockEncoder) reset() { e.v, e.last = e.v[:0], 0 }

// skip adds what has left the list.
func (e *blockEncoder) skip() { e.v = append(e.v, blockGone) }

// number adds an element without an id.
func (e *blockEncoder) number(n uint64, flags uint64) {
	e.v = binary.AppendUvarint(e.v, n<<blockFlags|blockHas|flags)
}

// add adds an element.
func (e *blockEncoder) add(number, flags uint64, id string) {
	n, _ := packedNumber(id)
	if n != 0 && e.last != 0 {
		e.number(number, flags|blockNear)
		e.v = binary.AppendVarint(e.v, int64(n-e.last))
	} else {
		e.number(number, flags)
		e.id = appendPacked(e.id[:0], id)
		e.v = append(binary.AppendUvarint(e.v, uint64(len(e.id))), e.id...)
	}
	e.last = n
}

// blockDecoder takes a block apart. What it says means nothing if the reader is bad.
type blockDecoder struct {
	r    reader
	last uint64
}

// number begins the next element, of which it returns number and flags; no flags if that has left
// the list.
func (d *blockDecoder) number() (n, flags uint64) {
	head := d.r.uvarint()
	d.r.bad = d.r.bad || head != blockGone && head&blockHas == 0
	return head >> blockFlags, head & (1<<blockFlags - 1)
}

// id is the id of the element with the flags.
func (d *blockDecoder) id(flags uint64) string {
	if flags&blockNear == 0 {
		id, ok := unpackID(d.r.bytes())
		d.last, _ = packedNumber(id)
		d.r.bad = d.r.bad || !ok
		return id
	}
	d.r.bad = d.r.bad || d.last == 0
	d.last += uint64(d.r.varint())
	return strconv.FormatUint(d.last, 10)
}
