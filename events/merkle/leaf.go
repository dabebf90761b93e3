package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a hash in a tree. The zero Hash stands for one that is not known.
type Hash = tlog.Hash

// ParseHash reads a hash as its String method writes it.
func ParseHash(s string) (Hash, error) { return tlog.ParseHash(s) }

// leafVersion begins what a leaf binds, so that it can be changed one day.
const leafVersion = 1

// DataHash is how a leaf binds the data of its entry.
func DataHash(data []byte) Hash { return sha256.Sum256(data) }

// Leaf is the hash of an entry: it binds the sequence, the broker's time to the nanosecond, the
// subject, which names the partition and says what the data is, and the data.
func Leaf(sequence uint64, at time.Time, subject string, data []byte) Hash {
	return LeafOf(sequence, at, subject, DataHash(data))
}

// LeafOf is [Leaf] for one who has only the hash of the data.
func LeafOf(sequence uint64, at time.Time, subject string, data Hash) Hash {
	var buf [256]byte
	b := append(buf[:0], 0) // of a leaf, as opposed to 1 of an inner node
	b = append(b, leafVersion)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(subject)))
	b = append(append(b, subject...), data[:]...)
	return sha256.Sum256(b)
}
