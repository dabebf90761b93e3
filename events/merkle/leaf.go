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

// What a leaf binds begins with its version.
const (
	leafUnnamed = 1
	// leafNamed is the form for an entry whose name decides something.
	leafNamed = 2
)

// dataHash is how a leaf binds the data of its entry.
func dataHash(data []byte) Hash { return sha256.Sum256(data) }

// Stored is an entry as the log has it, with all that decides what it does.
type Stored struct {
	Sequence uint64
	// Time is the broker's, to the nanosecond.
	Time time.Time
	// Subject names the partition and says what the data is.
	Subject string
	// MsgID is what the producer called the entry, where that may name its event:
	// [events.EntryName].
	MsgID string
	Data  []byte
}

// Leaf is the hash of the entry, which binds all of it.
func (s Stored) Leaf() Hash { return s.leaf(dataHash(s.Data)) }

// leaf is for one who has only the hash of the data.
func (s Stored) leaf(data Hash) Hash {
	var buf [256]byte
	version := byte(leafUnnamed)
	if s.MsgID != "" {
		version = leafNamed
	}
	b := append(buf[:0], 0, version) // 0 of a leaf, as opposed to 1 of an inner node
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Time.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Subject)))
	b = append(append(b, s.Subject...), data[:]...)
	b = append(b, s.MsgID...)
	return sha256.Sum256(b)
}
