package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestReaderReadsWhatWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, v := rapid.Uint64().Draw(t, "u"), rapid.Int64().Draw(t, "v")
		s := rapid.StringN(0, 300, -1).Draw(t, "s")
		b := appendString(appendInt(binary.AppendUvarint(nil, u), v), s)
		b = append(binary.BigEndian.AppendUint64(b, u), 9)
		r := reader{b: b}
		if r.uvarint() != u || r.varint() != v || r.string() != s || r.uint64() != u || r.byte() != 9 {
			t.Fatalf("read something else than %d, %d, %q", u, v, s)
		}
		if r.err() != nil || len(r.b) != 0 {
			t.Fatalf("error %v, %d bytes left", r.err(), len(r.b))
		}
	})
}

func TestReaderReportsWhatIsCutShort(t *testing.T) {
	for name, read := range map[string]func(r *reader){
		"uvarint": func(r *reader) { r.uvarint() },
		"varint":  func(r *reader) { r.varint() },
		"byte":    func(r *reader) { r.byte() },
		"uint64":  func(r *reader) { r.uint64() },
		"string":  func(r *reader) { r.string() },
	} {
		for _, b := range [][]byte{nil, {0x80}, {0x80, 0x80}, {5, 'a'}} {
			r := reader{b: b}
			for range 9 { // everything after the first error reads as zero
				read(&r)
			}
			if !errors.Is(r.err(), errCorrupt) {
				t.Errorf("%s of % x: error %v", name, b, r.err())
			}
		}
	}
	r := reader{b: binary.AppendUvarint(nil, math.MaxUint64)} // a length far beyond the value
	if got := r.bytes(); got != nil || !errors.Is(r.err(), errCorrupt) {
		t.Errorf("a length beyond the value: %q, %v", got, r.err())
	}
}

// FuzzDecodeStored: a value that this version did not write is an error, never a panic.
func FuzzDecodeStored(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add((&header{kind: msgTracked, sender: 1, eligible: 3, seq: 9, sentAt: 1 << 40}).encode(nil, []byte{2, 5, 5, 1, 1, 'x'}))
	f.Add((&header{kind: msgTracked, label: 300, sender: 1, eligible: 3, seq: 9, sentAt: 1 << 40}).encode(nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if err := m.decode(b); err == nil {
			_ = m.firstAt()
			stored := m.header.encode(nil, m.log)
			var n message
			if err := n.decode(stored); err != nil || !bytes.Equal(n.header.encode(nil, n.log), stored) {
				t.Errorf("% x is stored as % x, which decodes to %+v, %v", b, stored, n.header, err)
			}
		}
		_ = new(member).decode(b)
		_, _, _ = new(conversation).decodeHeader(b)
		_ = new(Partition).decodeMeta(b)
	})
}
