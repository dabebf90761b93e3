package store

import (
	"encoding/binary"
	"testing"
)

// FuzzPebbleManifest: whatever is in the file that Pebble opens a store with, it is whole up to
// some chunk, or names the first one that is not; what follows a chunk that is damaged makes
// nothing better, and no chunk that is cut off makes it damaged.
func FuzzPebbleManifest(f *testing.F) {
	chunk := func(kind byte, data string) []byte {
		b := append(make([]byte, manifestHeader-1), kind)
		binary.LittleEndian.PutUint16(b[4:], uint16(len(data)))
		b = append(b, data...)
		binary.LittleEndian.PutUint32(b, maskedCRC(b[6:]))
		return b
	}
	whole := append(chunk(1, "first"), chunk(1, "second")...)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(whole, make([]byte, 64)...))
	f.Add(append(chunk(9, "x"), whole...))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		at := damagedChunk(data)
		if at < -1 || at >= len(data) {
			t.Fatalf("%x: %d", data, at)
		}
		if at >= 0 && damagedChunk(data[:at]) != -1 {
			t.Errorf("%x: the first damaged chunk is at %d, and what is before it is damaged at %d", data, at, damagedChunk(data[:at]))
		}
		if at < 0 {
			return
		}
		there := at+manifestHeader+int(binary.LittleEndian.Uint16(data[at+4:])) <= len(data)
		if more := append(data[:len(data):len(data)], whole...); there && damagedChunk(more) != at {
			t.Errorf("%x: with more behind it, the chunk at %d is not damaged", data, at)
		}
		_ = readRecords(data)
	})
}
