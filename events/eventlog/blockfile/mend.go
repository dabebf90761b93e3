package blockfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Lost are messages of a stream that are not in its files any more.
type Lost struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Stand makes what stands in the place of a lost message: its subject and data. nil puts nothing in
// its place.
type Stand func(sequence uint64) (subject, data []byte)

// Mend writes the blocks of a stream again without what is damaged in them, and puts something in
// the place of each message that is lost, so that those behind it keep their sequences. The stream
// has those from first to last afterwards. The files as they were are moved to aside; they are
// never removed. It returns what was lost. The server must not be running.
func (s *Stream) Mend(first, last uint64, stand Stand, aside string) ([]Lost, error) {
	blocks, err := s.blocks()
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		blocks = []block{{index: 1, path: filepath.Join(s.Dir, blocksDir, "1"+blockSuffix)}}
	}
	meta, err := s.Meta()
	if err != nil {
		return nil, err
	}
	// Of what was lost at the beginning no time is known but that of the stream. To the server a
	// message without a time is none.
	m := mender{stream: s, next: first, stand: stand, time: meta.Created.UnixNano()}
	for i, b := range blocks {
		data, err := os.ReadFile(b.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return m.lost, err
		}
		if data, err = decompress(data); err != nil {
			data = nil
		}
		mended := m.block(b.index, data)
		if i == len(blocks)-1 {
			mended = m.fill(mended, b.index, last+1)
		}
		if slices.Equal(mended, data) {
			continue
		}
		if err := s.replace(b.path, mended, aside); err != nil {
			return m.lost, err
		}
	}
	// The summary is of the blocks as they were.
	if err := moveAside(filepath.Join(s.Dir, blocksDir, indexFile), aside); err != nil {
		return m.lost, err
	}
	return m.lost, atomicfile.SyncDir(filepath.Join(s.Dir, blocksDir))
}

// mender goes through the blocks in order.
type mender struct {
	stream *Stream
	next   uint64 // the sequence that comes next
	time   int64  // of the last good record, or when the stream was made
	stand  Stand
	lost   []Lost
}

// block returns a block's good records, with stands before those that follow a loss.
func (m *mender) block(index int, data []byte) (out []byte) {
	h := newHash(fmt.Sprintf("%s-%d", m.stream.Name, index))
	for at := 0; at < len(data); {
		r, size := parse(h, data[at:])
		if size == 0 {
			skip, found := resync(h, data[at:], max(m.next, 1)-1)
			if !found {
				break
			}
			at += skip
			continue
		}
		if !r.Tombstone {
			out = m.fill(out, index, r.Sequence)
			m.next = max(m.next, r.Sequence+1)
		}
		m.time = r.Time
		out = append(out, data[at:at+size]...)
		at += size
	}
	return out
}

// fill puts stands in the places of what is missing before a sequence.
func (m *mender) fill(out []byte, index int, before uint64) []byte {
	if m.next == 0 || before <= m.next {
		return out
	}
	if m.stand == nil { // messages are missing between others as a matter of course
		m.next = before
		return out
	}
	m.lost = append(m.lost, Lost{First: m.next, Last: before - 1})
	for ; m.next < before; m.next++ {
		subject, data := m.stand(m.next)
		out = appendRecord(out, fmt.Sprintf("%s-%d", m.stream.Name, index), m.next, m.time, subject, data)
	}
	return out
}

// appendRecord appends a record without a header.
func appendRecord(b []byte, name string, sequence uint64, time int64, subject, data []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(recordMinSize+len(subject)+len(data)))
	b = binary.LittleEndian.AppendUint64(b, sequence)
	b = binary.LittleEndian.AppendUint64(b, uint64(time))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(subject)))
	b = append(append(b, subject...), data...)
	h := newHash(name)
	h.Write(b[start+4 : start+20])
	h.Write(b[start+recordHeadSize:])
	return h.Sum(b)
}

// replace writes a file anew, synced, after the one that was there went aside.
func (s *Stream) replace(path string, data []byte, aside string) error {
	tmp := path + ".mended"
	if err := atomicfile.WriteSynced(tmp, data, 0o600); err != nil {
		return err
	}
	if err := moveAside(path, aside); err != nil {
		return err
	}
	return atomicfile.Rename(tmp, path)
}

// moveAside moves a file that need not be there.
func moveAside(path, aside string) error {
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	err := atomicfile.Rename(path, filepath.Join(aside, filepath.Base(path)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
