package projections

import (
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
)

// Decoded is a log entry as a fold takes it: its place in the log, and the events in it or why
// there are none.
type Decoded struct {
	// Sequence in the partition's stream. Entries come in the order of their sequences.
	Sequence uint64
	// At is the broker's timestamp in Unix milliseconds.
	At int64
	// Fingerprint tells the entry from another one that takes its sequence after the log lost its
	// tail. A checkpoint carries that of the last entry in it.
	Fingerprint uint64
	// Leaf is the entry's hash in the Merkle tree of the log; zero if it is not known.
	Leaf merkle.Hash
	// Batch has the events. It is not looked at in a poison entry, and not kept.
	Batch *events.Batch
	// Poison says why the entry could not be decoded; empty if it could.
	Poison string
}

// position is where the fold is: the last entry applied, and the fold's clock.
type position struct {
	seq         uint64 // 0 = none
	fingerprint uint64
	clock       clock
}

// advance moves on to an entry, and refuses one that is not after the last. It reports whether the
// clock was taken back.
func (at *position) advance(x *Decoded) (clockBack bool, err error) {
	if x.Sequence <= at.seq {
		return false, fmt.Errorf("entry %d after entry %d", x.Sequence, at.seq)
	}
	at.seq, at.fingerprint = x.Sequence, x.Fingerprint
	return at.clock.advance(x.At), nil
}

// Position is the last entry applied: its sequence, 0 if there is none, and its fingerprint.
func (p *Partition) Position() (sequence, fingerprint uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position.seq, p.position.fingerprint
}

// StoredPosition returns the position of the state that get finds the keys of, without opening it;
// 0 if there is none. get returns nil for a key that is not there, as [Backing] does.
func StoredPosition(get func(key []byte) ([]byte, error)) (sequence, fingerprint uint64, err error) {
	v, err := get([]byte{tableMeta})
	if err != nil {
		return 0, 0, err
	}
	var p Partition
	if err := p.decodeMeta(v); err != nil {
		return 0, 0, err
	}
	return p.position.seq, p.position.fingerprint, nil
}

// StoredLevel returns the level of the rules that is in force, in the same way: see [Level].
func StoredLevel(get func(key []byte) ([]byte, error)) (uint64, error) {
	v, err := get([]byte{tableMeta})
	if err != nil {
		return 0, err
	}
	var p Partition
	err = p.decodeMeta(v)
	return p.rules.level, err
}

// StoredRules returns the number of the rules that the state was folded by, in the same way: see
// [Rules].
func StoredRules(get func(key []byte) ([]byte, error)) (uint64, error) {
	v, err := get([]byte{tableMeta})
	if err != nil {
		return 0, err
	}
	var p Partition
	err = p.decodeMeta(v)
	return p.rules.number, err
}
