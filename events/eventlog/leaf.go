package eventlog

import (
	"strings"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
)

// Leaf is the hash of an entry in the Merkle tree of its partition. Of what stands for a lost entry
// it is the hash of that one, where the repair knew it: the tree stays what it was.
func Leaf(e Entry) merkle.Hash {
	if events.IsLostSubject(e.Subject) {
		if _, text, ok := strings.Cut(string(e.Data), lostLeaf); ok {
			if leaf, err := merkle.ParseHash(text); err == nil {
				return leaf
			}
		}
	}
	return Stored(e).Leaf()
}

// Stored is an entry as the tree of its partition binds it.
func Stored(e Entry) merkle.Stored {
	return merkle.Stored{Sequence: e.Sequence, Time: e.Time, Subject: e.Subject, MsgID: events.EntryName(e.Subject, e.MsgID), Data: e.Data}
}

// lostLeaf comes before the hash in the data of what stands for a lost entry.
const lostLeaf = "; its hash in the tree of the log: "

// Leaves returns the hash of an entry in the tree of its partition; zero if it is not known.
type Leaves func(partition int, sequence uint64) merkle.Hash

// lostData is the data of what stands for a lost entry.
func (r *repair) lostData(partition int, sequence uint64, reason string) []byte {
	if r.o.Leaves != nil {
		if leaf := r.o.Leaves(partition, sequence); leaf != (merkle.Hash{}) {
			reason += lostLeaf + leaf.String()
		}
	}
	return []byte(reason)
}
