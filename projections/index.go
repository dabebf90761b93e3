package projections

import (
	"encoding/binary"
	"slices"
)

type messageRef struct {
	app uint32
	id  string
}

type userRef struct {
	app  uint32
	user string
}

// index finds the conversations of a message id or a user that the index tables of the backing do
// not have yet.
type index struct {
	messages map[messageRef][]uint64
	users    map[userRef][]uint64
}

func (x *index) addMessage(r messageRef, conv uint64) {
	if x.messages == nil {
		x.messages = map[messageRef][]uint64{}
	}
	x.messages[r] = append(x.messages[r], conv)
}

func (x *index) addUser(r userRef, conv uint64) {
	if x.users == nil {
		x.users = map[userRef][]uint64{}
	}
	x.users[r] = append(x.users[r], conv)
}

func (x *index) reset() {
	clear(x.messages)
	clear(x.users)
}

// indexes are what was added since the last capture, and what was captured and is not committed.
type indexes struct {
	added, captured index
}

func (x *indexes) capture() {
	x.captured, x.added = x.added, x.captured
	x.added.reset()
}

func (x *indexes) commit() { x.captured.reset() }

// conversationsOfMessage are the numbers of the conversations with a message of that id, ascending.
func (p *Partition) conversationsOfMessage(a *app, id string) ([]uint64, error) {
	r, x := messageRef{a.num, id}, &p.indexes
	return p.scanIndex(messagePrefix(p.scratch.key(), a.num, id), x.added.messages[r], x.captured.messages[r])
}

// conversationsOfUser are the numbers of the conversations that a user is or was in, ascending.
func (p *Partition) conversationsOfUser(a *app, user string) ([]uint64, error) {
	r, x := userRef{a.num, user}, &p.indexes
	return p.scanIndex(userIndexPrefix(p.scratch.key(), a.num, user), x.added.users[r], x.captured.users[r])
}

// scanIndex scans a table whose keys end with a conversation's number, adds what it does not have
// yet, and returns the numbers in order, each once.
func (p *Partition) scanIndex(prefix []byte, uncommitted ...[]uint64) ([]uint64, error) {
	var nums []uint64
	err := p.back.Scan(prefix, func(key, _ []byte) error {
		n, k := binary.Uvarint(key[len(prefix):])
		if k <= 0 {
			return errCorrupt
		}
		nums = append(nums, n)
		return nil
	})
	for _, u := range uncommitted {
		nums = append(nums, u...)
	}
	slices.Sort(nums)
	return slices.Compact(nums), err
}
