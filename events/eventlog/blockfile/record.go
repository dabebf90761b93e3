package blockfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/minio/highwayhash"
)

const (
	recordHeadSize = 22
	recordHashSize = 8
	recordMinSize  = recordHeadSize + recordHashSize
	// recordMaxSize is the length from which nats-server takes a record for garbage.
	recordMaxSize = 32 << 20

	headerBit    = 1 << 31 // of the length
	erasedBit    = 1 << 63 // of the sequence
	tombstoneBit = 1 << 62
)

// Record is one record of a block. Its slices are valid until the next one is read.
type Record struct {
	// Sequence is the message's, or that of the one that the record stands for.
	Sequence uint64
	// Time is when the server stored it, in nanoseconds since 1970.
	Time    int64
	Subject []byte
	// Header is as it is stored, empty if there is none.
	Header []byte
	Data   []byte
	// Gone is set for the place of a message that was erased, and for a tombstone: there is no
	// message with this sequence any more.
	Gone bool
	// Tombstone is set if the record only says that a message elsewhere was deleted.
	Tombstone bool
}

// newHash returns the hash that is keyed with a name: a stream's, of its configuration; a block's,
// of its records.
func newHash(name string) hash.Hash64 {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	return h
}

// parse reads the record at the beginning of b. size is 0 if there is none: b is too short for it,
// its lengths contradict each other, or its hash is wrong.
func parse(h hash.Hash64, b []byte) (r Record, size int) {
	if len(b) < recordMinSize {
		return r, 0
	}
	length := binary.LittleEndian.Uint32(b)
	withHeader := length&headerBit != 0
	total, subject := int(length&^headerBit), int(binary.LittleEndian.Uint16(b[20:]))
	body := recordHeadSize + subject
	if withHeader {
		body += 4
	}
	if total > len(b) || total > recordMaxSize || body+recordHashSize > total {
		return r, 0
	}
	r.Subject = b[recordHeadSize : recordHeadSize+subject]
	content := b[body : total-recordHashSize]
	r.Data = content
	if withHeader {
		header := binary.LittleEndian.Uint32(b[body-4:])
		// The hash does not cover where the header ends, so that is looked at.
		if uint64(header) > uint64(len(content)) || !isHeader(content[:header]) {
			return r, 0
		}
		r.Header, r.Data = content[:header], content[header:]
	}
	h.Reset()
	h.Write(b[4:20])
	h.Write(r.Subject)
	h.Write(content)
	var sum [recordHashSize]byte
	if !bytes.Equal(h.Sum(sum[:0]), b[total-recordHashSize:total]) {
		return r, 0
	}
	sequence := binary.LittleEndian.Uint64(b[4:])
	r.Tombstone = sequence&tombstoneBit != 0
	r.Gone = r.Tombstone || sequence&erasedBit != 0
	r.Sequence = sequence &^ (erasedBit | tombstoneBit)
	r.Time = int64(binary.LittleEndian.Uint64(b[12:]))
	return r, total
}

func isHeader(b []byte) bool {
	return bytes.HasPrefix(b, []byte("NATS/1.0")) && bytes.HasSuffix(b, []byte("\r\n\r\n"))
}

// resync looks for the next valid record in b, from its second byte on. Only one with a sequence
// behind after, and not implausibly far, is worth the hash.
func resync(h hash.Hash64, b []byte, after uint64) (offset int, found bool) {
	limit := after + 1<<32
	for i := 1; i+recordMinSize <= len(b); i++ {
		length := binary.LittleEndian.Uint32(b[i:]) &^ headerBit
		if length < recordMinSize || int64(length) > int64(len(b)-i) {
			continue
		}
		sequence := binary.LittleEndian.Uint64(b[i+4:]) &^ (erasedBit | tombstoneBit)
		if sequence <= after || sequence > limit {
			continue
		}
		if _, size := parse(h, b[i:]); size > 0 {
			return i, true
		}
	}
	return 0, false
}
