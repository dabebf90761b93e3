package feed

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/receiptd/receiptd/projections"
)

// request is what a node asks of the one that feeds it: to tell of more users, or what there is to
// tell.
type request struct {
	// ID tells the feeds apart, those of the processes of one node too.
	ID        string `json:"id"`
	Partition int    `json:"partition"`
	// Whom are the hashes of users to tell of, besides those named before. Between First and Last
	// they are gathered, and then take the place of those; the first time that begins the feed.
	Whom  []byte `json:"whom,omitempty"`
	First bool   `json:"first,omitempty"`
	Last  bool   `json:"last,omitempty"`
	// Poll asks for the effects after an entry, all up to which were told. If there are none, they
	// are waited for, so many milliseconds.
	Poll  bool   `json:"poll,omitempty"`
	After uint64 `json:"after,omitempty"`
	Wait  int64  `json:"wait_ms,omitempty"`
}

// reply is the answer.
type reply struct {
	// Problem is why there is none; the feed is over then.
	Problem string `json:"problem,omitempty"`
	// After is the entry after which the effects begin. They are all there are up to the entry
	// Upto, which is before After where the copy is behind its asker. If no effects were asked for,
	// After is that after which the users are told of.
	After uint64 `json:"after,omitempty"`
	Upto  uint64 `json:"upto,omitempty"`
	// Users is how many users the feed is for.
	Users   int                  `json:"users,omitempty"`
	Effects []projections.Effect `json:"effects,omitempty"`
}

var errUnsound = errors.New("its effects are not those of the entries that it names")

// sound reports whether the effects are of a partition, in order, and of the entries in question.
func (x *reply) sound(partition int) bool {
	at := x.After
	for i := range x.Effects {
		e := &x.Effects[i]
		if e.Partition != partition || e.Sequence <= x.After || e.Sequence < at || e.Sequence > x.Upto {
			return false
		}
		at = e.Sequence
	}
	return true
}

// hash stands for a user. Two that share one are told of together, and one who is not online is not
// told.
func hash(app, user string) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(app) // never fails
	_, _ = d.WriteString("\x00")
	_, _ = d.WriteString(user)
	return d.Sum64()
}

const hashBytes = 8

func encodeHashes(list []uint64) []byte {
	b := make([]byte, 0, hashBytes*len(list))
	for _, h := range list {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

// addHashes adds what was encoded to a set.
func addHashes(set map[uint64]struct{}, b []byte) {
	for ; len(b) >= hashBytes; b = b[hashBytes:] {
		set[binary.LittleEndian.Uint64(b)] = struct{}{}
	}
}
