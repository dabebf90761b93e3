package blockfile

import (
	"encoding/binary"
	"fmt"
	"hash"
	"iter"
	"path/filepath"
	"strconv"
)

// Block gathers records as the bytes of a block file, as the server would write them.
type Block struct {
	// First and Last are the sequences of its first and last message, Messages is how many it has.
	First, Last, Messages uint64

	hash hash.Hash64
	data []byte
}

// NewBlock begins a block of a stream. Its records fit no other stream and no other number.
func NewBlock(stream string, index int) *Block {
	return &Block{hash: newHash(blockName(stream, index))}
}

func blockName(stream string, index int) string { return stream + "-" + strconv.Itoa(index) }

// blockPath is where a block lies in its stream's directory.
func blockPath(index int) string { return filepath.Join(blocksDir, strconv.Itoa(index)+blockSuffix) }

// Append adds a message or, for a record that is Gone, the place of one that was erased. Sequences
// have to grow.
func (b *Block) Append(r Record) {
	b.data = appendRecord(b.hash, b.data, r)
	if r.Gone {
		return
	}
	if b.First == 0 {
		b.First = r.Sequence
	}
	b.Last = r.Sequence
	b.Messages++
}

// Bytes is the block's file. The slice is valid until the next Append.
func (b *Block) Bytes() []byte { return b.data }

// appendRecord appends a record with the hash that is keyed with its block.
func appendRecord(h hash.Hash64, b []byte, r Record) []byte {
	start := len(b)
	length := uint32(recordMinSize + len(r.Subject) + len(r.Header) + len(r.Data))
	if len(r.Header) > 0 {
		length = (length + 4) | headerBit
	}
	sequence := r.Sequence
	if r.Gone {
		sequence |= erasedBit
	}
	b = binary.LittleEndian.AppendUint32(b, length)
	b = binary.LittleEndian.AppendUint64(b, sequence)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Subject)))
	b = append(b, r.Subject...)
	if len(r.Header) > 0 {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Header)))
	}
	content := len(b)
	b = append(append(b, r.Header...), r.Data...)
	h.Reset()
	h.Write(b[start+4 : start+20])
	h.Write(r.Subject)
	h.Write(b[content:])
	return h.Sum(b)
}

// Records are those in the bytes of a block, in their order, which must be uncompressed. The last
// one comes with an error that wraps [ErrDamaged] if what follows is no record.
func Records(stream string, index int, data []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		h := newHash(blockName(stream, index))
		for at := 0; at < len(data); {
			r, size := parse(h, data[at:])
			if size == 0 {
				yield(r, fmt.Errorf("%w: block %d of %s at offset %d: %s", ErrDamaged, index, stream, at, describe(data[at:])))
				return
			}
			if !yield(r, nil) {
				return
			}
			at += size
		}
	}
}
