package projections

import (
	"encoding/binary"
	"slices"
	"strings"
)

// poison counts the entries that could not be decoded and keeps the latest.
type poison struct {
	total  uint64
	latest []PoisonEntry // oldest first
}

// PoisonEntry is a log entry that could not be decoded.
type PoisonEntry struct {
	Partition int
	Sequence  uint64
	At        int64 // the entry's own time, Unix milliseconds
	Reason    string
}

const (
	// maxPoison bounds the poison entries kept; all are counted.
	maxPoison = 100
	// maxPoisonReason bounds the bytes of a reason.
	maxPoisonReason = 200
)

func (p *Partition) recordPoison(seq uint64, at int64, reason string) {
	reason = reason[:min(len(reason), maxPoisonReason)]
	x := PoisonEntry{Partition: p.share.id, Sequence: seq, At: at, Reason: strings.Clone(reason)}
	l := &p.poison
	l.total++
	l.latest = append(l.latest, x)
	p.changes.put(poisonKey(p.scratch.key(), seq), append(appendInt(nil, at), reason...))
	if len(l.latest) > maxPoison {
		p.changes.del(poisonKey(p.scratch.key(), l.latest[0].Sequence))
		l.latest = l.latest[1:]
	}
}

// Poison returns how many entries could not be decoded, and the latest of them, oldest first.
func (p *Partition) Poison() (total uint64, latest []PoisonEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.poison.total, slices.Clone(p.poison.latest)
}

func (p *Partition) loadPoison() error {
	return p.back.Scan([]byte{tablePoison}, func(key, value []byte) error {
		if len(key) != 9 {
			return errCorrupt
		}
		r := reader{b: value}
		x := PoisonEntry{Partition: p.share.id, Sequence: binary.BigEndian.Uint64(key[1:]), At: r.varint()}
		x.Reason = string(r.b)
		p.poison.latest = append(p.poison.latest, x)
		return r.err()
	})
}
