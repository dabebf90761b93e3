package blockfile

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
)

const (
	indexFile  = "index.db"
	indexMagic = 11
	indexHead  = 2 // magic and version
)

// IndexedLast is the last sequence that the stream's summary names, 0 if there is no summary or it
// is not what the server wrote. It knows of messages that expired and left nothing behind in
// the blocks.
func (s *Stream) IndexedLast() uint64 {
	b, err := os.ReadFile(filepath.Join(s.Dir, blocksDir, indexFile))
	if err != nil || len(b) < indexHead+recordHashSize {
		return 0
	}
	body, sum := b[:len(b)-recordHashSize], b[len(b)-recordHashSize:]
	h := newHash(s.Name)
	h.Write(body)
	if !bytes.Equal(h.Sum(nil), sum) || body[0] != indexMagic {
		return 0
	}
	body = body[indexHead:]
	// The number of messages, their bytes, the first sequence, its time, and then the
	// last sequence.
	for range 3 {
		_, n := binary.Uvarint(body)
		if n <= 0 {
			return 0
		}
		body = body[n:]
	}
	_, n := binary.Varint(body)
	if n <= 0 {
		return 0
	}
	last, _ := binary.Uvarint(body[n:])
	return last
}
