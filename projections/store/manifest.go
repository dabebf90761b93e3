package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// Pebble's manifest is a file of records in chunks that do not cross a block.
const (
	manifestBlock  = 32 << 10
	manifestHeader = 7 // checksum, length, kind
	lastChunkKind  = 4
)

// wholeManifest returns a [*CorruptError] if the manifest that Pebble would open a store with has a
// chunk that is not what was written. Pebble takes that for the end of the file, as after a write
// that was cut off, and goes on with an older version of the state whose tables may be others by
// now. What is cut off is not corrupt.
func wholeManifest(disk vfs.FS, dir string) error {
	name, err := atomicfs.ReadMarker(disk, dir, "manifest")
	if err != nil || name == "" {
		return nil // Pebble knows better what that means
	}
	path := disk.PathJoin(dir, name)
	f, err := disk.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if at := damagedChunk(data); at >= 0 {
		return &CorruptError{Path: path, Err: fmt.Errorf("the chunk at %d does not fit its checksum", at)}
	}
	return nil
}

// damagedChunk is the offset of the first chunk of a manifest that is there and is not whole, -1 if
// there is none.
func damagedChunk(data []byte) int {
	for at := 0; at+manifestHeader <= len(data); {
		room := manifestBlock - at%manifestBlock
		if room < manifestHeader {
			at += room // filled up with zeros
			continue
		}
		sum, length, kind := binary.LittleEndian.Uint32(data[at:]), int(binary.LittleEndian.Uint16(data[at+4:])), data[at+6]
		end := at + manifestHeader + length
		switch {
		case sum == 0 && length == 0 && kind == 0: // room that was made and not written to
			return -1
		case kind == 0 || kind > lastChunkKind || manifestHeader+length > room:
			return at
		case end > len(data):
			if wrongLength(data[at:]) {
				return at
			}
			return -1
		case sum != maskedCRC(data[at+6:end]):
			return at
		}
		at = end
	}
	return -1
}

// wrongLength tells a chunk that seems to go on behind the end of the file because a bit of its
// length flipped from one that was cut off: with the bit turned back it fits its checksum.
func wrongLength(chunk []byte) bool {
	sum, length := binary.LittleEndian.Uint32(chunk), int(binary.LittleEndian.Uint16(chunk[4:]))
	for bit := range 16 {
		end := manifestHeader + (length ^ 1<<bit)
		if end <= len(chunk) && maskedCRC(chunk[6:end]) == sum {
			return true
		}
	}
	return false
}

// maskedCRC is the checksum of a chunk: CRC-32C, turned so that it is not that of data with such
// checksums in it.
func maskedCRC(data []byte) uint32 {
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}
