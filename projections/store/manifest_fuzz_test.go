package store

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
)

// FuzzPebbleManifest: whatever is in the file that Pebble opens a store with, it is whole up to
// some chunk, or names the first one that is not; what follows a chunk that is damaged makes
// nothing better, and no chunk that is cut off makes it damaged. Of a file that Pebble wrote,
// whatever is in its records, no beginning is damaged, and no flipped bit passes.
func FuzzPebbleManifest(f *testing.F) {
	whole := written(f, []byte("first"), 2)
	f.Add(whole, uint8(1), uint32(0))
	f.Add(whole[:len(whole)-3], uint8(3), uint32(33))
	f.Add(append(whole, make([]byte, 64)...), uint8(0), uint32(1))
	f.Add(append([]byte{0, 0, 0, 0, 1, 0, 9, 'x'}, whole...), uint8(2), uint32(48))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 1}, uint8(9), uint32(40))
	f.Add(bytes.Repeat([]byte("x"), 300), uint8(200), uint32(8*manifestBlock+41))
	f.Add(bytes.Repeat([]byte("x"), 4083), uint8(8), uint32(8*manifestBlock-1))
	// The second chunk is a header that just fits into the block.
	f.Add(bytes.Repeat([]byte("x"), manifestBlock-2*manifestHeader), uint8(2), uint32(8*(manifestBlock-manifestHeader)))
	f.Fuzz(func(t *testing.T, data []byte, records uint8, bit uint32) {
		anyManifest(t, data, whole)
		// Some blocks are as good as many.
		most := 1 + 4*manifestBlock/(len(data)+manifestHeader)
		writtenManifest(t, written(t, data, min(int(records), most)), int(bit))
	})
}

// written is what Pebble writes as records that have the same in them.
func written(t testing.TB, data []byte, records int) []byte {
	t.Helper()
	var file bytes.Buffer
	w := record.NewWriter(&file)
	for range records {
		one, err := w.Next()
		if err == nil {
			_, err = one.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func anyManifest(t *testing.T, data, whole []byte) {
	at := damagedChunk(data)
	if at < -1 || at >= len(data) {
		t.Fatalf("%x: %d", data, at)
	}
	if at >= 0 && damagedChunk(data[:at]) != -1 {
		t.Errorf("%x: the first damaged chunk is at %d, and what is before it is damaged at %d", data, at, damagedChunk(data[:at]))
	}
	_ = readRecords(data) // an error or none, and it ends
	if at < 0 {
		return
	}
	there := at+manifestHeader+int(binary.LittleEndian.Uint16(data[at+4:])) <= len(data)
	if more := append(data[:len(data):len(data)], whole...); there && damagedChunk(more) != at {
		t.Errorf("%x: with more behind it, the chunk at %d is not damaged", data, at)
	}
}

func writtenManifest(t *testing.T, file []byte, bit int) {
	if at := damagedChunk(file); at >= 0 {
		t.Fatalf("%d bytes that Pebble wrote are damaged at %d", len(file), at)
	}
	if len(file) == 0 {
		return
	}
	bit %= 8 * len(file)
	if at := damagedChunk(file[:bit/8]); at >= 0 {
		t.Errorf("%d bytes that Pebble wrote, cut off at %d, are damaged at %d", len(file), bit/8, at)
	}
	chunk := chunkOf(file, bit/8)
	file[bit/8] ^= 1 << (bit % 8)
	if at := damagedChunk(file); at != chunk {
		t.Errorf("bit %d of %d bytes flipped, in the chunk at %d: damaged at %d", bit, len(file), chunk, at)
	}
}

// chunkOf is where the chunk begins that a byte belongs to; -1 for one of the zeros that fill up a
// block.
func chunkOf(file []byte, of int) int {
	for at := 0; ; {
		if left := manifestBlock - at%manifestBlock; left < manifestHeader {
			if of < at+left {
				return -1
			}
			at += left
		}
		end := at + manifestHeader + int(binary.LittleEndian.Uint16(file[at+4:]))
		if of < end {
			return at
		}
		at = end
	}
}
