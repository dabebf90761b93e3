package projections

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
