package blockfile

import (
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

// Replacement returns what comes in the place of a message that is not in the files: the message
// itself from elsewhere or the place of an erased one (lost is false), or something that says so,
// of which only subject and data matter. A record without a subject that is not Gone either leaves
// the place empty.
type Replacement func(sequence uint64) (r Record, lost bool)

// Mend writes the blocks of a stream again without what is damaged in them, and puts something in
// the place of each message that is missing, so that those behind it keep their sequences. The
// stream has those from first to last afterwards. What sound refuses is damaged, too: a record's
// hash does not cover where its subject ends. The files as they were are moved to aside; they are
// never removed. It returns what was lost. The server must not be running.
func (s *Stream) Mend(first, last uint64, sound func(*Record) bool, replacement Replacement, aside string) ([]Lost, error) {
	if err := atomicfile.MkdirAll(filepath.Join(s.Dir, blocksDir), 0o700); err != nil {
		return nil, err
	}
	lost, err := s.mend(first, last, sound, replacement, func(path string, mended []byte) error { return s.replace(path, mended, aside) })
	if err != nil {
		return lost, err
	}
	// The summary is of the blocks as they were.
	if err := moveAside(filepath.Join(s.Dir, blocksDir, indexFile), aside); err != nil {
		return lost, err
	}
	return lost, atomicfile.SyncDir(filepath.Join(s.Dir, blocksDir))
}

// Losses returns what [Stream.Mend] would, and changes nothing.
func (s *Stream) Losses(first, last uint64, sound func(*Record) bool, replacement Replacement) ([]Lost, error) {
	return s.mend(first, last, sound, replacement, func(string, []byte) error { return nil })
}

// mend has replace called for each block that is another one when it is mended.
func (s *Stream) mend(first, last uint64, sound func(*Record) bool, replacement Replacement, replace func(path string, mended []byte) error) ([]Lost, error) {
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
	m := mender{stream: s, next: first, sound: sound, replacement: replacement, time: meta.Created.UnixNano()}
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
		if err := replace(b.path, mended); err != nil {
			return m.lost, err
		}
	}
	return m.lost, nil
}

// mender goes through the blocks in order.
type mender struct {
	stream      *Stream
	next        uint64 // the sequence that comes next
	time        int64  // of the last good record, or when the stream was made
	sound       func(*Record) bool
	replacement Replacement
	lost        []Lost
}

// block returns a block's good records, with replacements before those that follow a loss.
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
		if !r.Tombstone && !r.Gone && !m.sound(&r) {
			at += size
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

// fill puts replacements for what is missing before a sequence.
func (m *mender) fill(out []byte, index int, before uint64) []byte {
	if m.next == 0 || before <= m.next {
		return out
	}
	h := newHash(fmt.Sprintf("%s-%d", m.stream.Name, index))
	for ; m.next < before; m.next++ {
		r, lost := m.replacement(m.next)
		if lost {
			m.lose()
		}
		if len(r.Subject) == 0 && !r.Gone {
			continue
		}
		r.Sequence = m.next
		if lost {
			r.Time = m.time
		}
		m.time = r.Time
		out = appendRecord(h, out, r)
	}
	return out
}

// lose notes that the next message is lost.
func (m *mender) lose() {
	if n := len(m.lost); n > 0 && m.lost[n-1].Last+1 == m.next {
		m.lost[n-1].Last = m.next
		return
	}
	m.lost = append(m.lost, Lost{First: m.next, Last: m.next})
}

// replace writes a file anew, synced. The one that was there stays in its place until then: a crash
// must not leave neither, for what is good in it would be lost with it.
func (s *Stream) replace(path string, data []byte, aside string) error {
	tmp := path + ".mended"
	if err := atomicfile.WriteSynced(tmp, data, 0o600); err != nil {
		return err
	}
	if err := linkAside(path, aside); err != nil {
		return err
	}
	return atomicfile.Rename(tmp, path)
}

// linkAside gives a file, which need not be there, a hard link. One that an earlier call gave it
// stays.
func linkAside(path, aside string) error {
	if err := atomicfile.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	err := os.Link(path, filepath.Join(aside, filepath.Base(path)))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
		return nil
	}
	return errors.Join(err, atomicfile.SyncDir(aside))
}

// moveAside moves a file that need not be there.
func moveAside(path, aside string) error {
	if err := atomicfile.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	err := atomicfile.Rename(path, filepath.Join(aside, filepath.Base(path)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
