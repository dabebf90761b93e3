package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server/avl"
)

const (
	indexFile       = "index.db"
	indexMagic      = 11
	indexVersionMax = 4
	indexHead       = 2 // magic and version
)

// Summary is the last sequence that the stream's summary names, if the server would believe it: if
// it is what the server wrote when it last wrote to these blocks. It knows of messages that expired
// and left nothing behind in the blocks. Without a summary that fits, the server reads every block
// at its start, and cuts each one off at the first record that is not whole.
func (s *Stream) Summary() (last uint64, fits bool) {
	b, err := os.ReadFile(filepath.Join(s.Dir, blocksDir, indexFile))
	if err != nil || len(b) < indexHead+recordHashSize {
		return 0, false
	}
	body, sum := b[:len(b)-recordHashSize], b[len(b)-recordHashSize:]
	h := newHash(s.Name)
	h.Write(body)
	if !bytes.Equal(h.Sum(nil), sum) || body[0] != indexMagic || body[1] > indexVersionMax {
		return 0, false
	}
	x, err := parseIndex(body)
	if err != nil || !s.isSummedUpBy(&x) {
		return 0, false
	}
	return x.state.last, true
}

// isSummedUpBy compares the blocks with a summary as the server does.
func (s *Stream) isSummedUpBy(x *index) bool {
	list, err := s.blocks()
	if err != nil || len(list) == 0 || list[len(list)-1].index != x.newest || !x.agrees() {
		return false
	}
	there := map[int]bool{}
	for _, b := range list {
		there[b.index] = true
	}
	for _, i := range x.blocks {
		if !there[i] {
			return false
		}
	}
	sum, err := lastSum(list[len(list)-1].path)
	return err == nil && sum == x.sum
}

// lastSum is the checksum that a block ends with, zeros if it is too short for one.
func lastSum(path string) (sum [recordHashSize]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size >= recordHashSize {
		_, err = f.ReadAt(sum[:], size-recordHashSize)
	}
	return sum, err
}

// counts are what a summary says of a stream, or of its blocks together.
type counts struct{ messages, bytes, first, last uint64 }

// index is what a summary says.
type index struct {
	state  counts
	sum    [recordHashSize]byte // that the newest block ended with
	newest int
	blocks []int  // in use
	total  counts // of the blocks
}

// agrees reports whether the counts of the stream are the sums of its blocks'.
func (x *index) agrees() bool {
	if x.total.first <= 1 {
		x.total.first = x.state.first
	}
	return x.state == x.total && len(x.blocks) > 0 && x.blocks[len(x.blocks)-1] == x.newest
}

// parseIndex reads a summary without its checksum.
func parseIndex(body []byte) (x index, err error) {
	r := indexReader{version: body[1], rest: body[indexHead:]}
	x.state.messages, x.state.bytes, x.state.first = r.uint(), r.uint(), r.uint()
	r.int()
	x.state.last = r.uint()
	r.int()
	r.subjects()
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		r.block(&x, n == 1)
	}
	x.newest = int(r.uint())
	copy(x.sum[:], r.take(recordHashSize))
	return x, r.err
}

// indexReader reads the parts of a summary. After an error it returns zeros.
type indexReader struct {
	version byte
	rest    []byte
	err     error
}

var errIndex = errors.New("blockfile: a summary of a form that is not known")

func (r *indexReader) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.take(uint64(n))
	return v
}

func (r *indexReader) int() int64 {
	v, n := binary.Varint(r.rest)
	r.take(uint64(n))
	return v
}

func (r *indexReader) take(n uint64) []byte {
	if n == 0 || n > uint64(len(r.rest)) { // no number is a part of none, or of less
		r.err, r.rest = errIndex, nil
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// subjects passes over the messages by subject.
func (r *indexReader) subjects() {
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		size := r.uint()
		if size == 0 {
			continue
		}
		r.take(size)
		total := r.uint()
		r.uint()
		if total > 1 || r.version >= 4 {
			r.uint()
		}
	}
}

// block adds a block.
func (r *indexReader) block(x *index, newest bool) {
	number, size, first := r.uint(), r.uint(), r.uint()
	r.int()
	last := r.uint()
	r.int()
	deleted := r.uint()
	for v := byte(2); v <= min(r.version, 3); v++ {
		r.uint()
	}
	messages := last - first + 1
	if deleted > 0 && r.err == nil {
		_, n, err := avl.Decode(r.rest)
		if err != nil {
			r.err = errIndex
			return
		}
		r.take(uint64(n))
		messages -= min(messages, deleted)
	}
	if messages == 0 && !newest || r.err != nil {
		return
	}
	x.blocks = append(x.blocks, int(number))
	if t := &x.total; t.first == 0 || first < t.first && messages > 0 {
		t.first = first
	}
	x.total.last = max(x.total.last, last)
	x.total.messages, x.total.bytes = x.total.messages+messages, x.total.bytes+size
}
