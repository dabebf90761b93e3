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
	messages messageIndex
	users    map[userRef][]uint64
}

// messageIndex finds the conversations of a message id. The fold notes each message, and it is
// whoever asks that has what is noted put into the map: hardly any message is asked for without its
// conversation, and a map of them all took an eighth of the fold's time.
type messageIndex struct {
	noted  []notedMessage
	mapped int // how many of noted are in the map
	byID   map[messageRef][]uint64
}

type notedMessage struct {
	ref  messageRef
	conv uint64
}

func (x *messageIndex) add(r messageRef, conv uint64) {
	x.noted = append(x.noted, notedMessage{r, conv})
}

// mapNoted puts at most n of what is noted into the map and reports whether that was all.
func (x *messageIndex) mapNoted(n int) (all bool) {
	if x.byID == nil {
		x.byID = map[messageRef][]uint64{}
	}
	for _, m := range x.noted[x.mapped:min(x.mapped+n, len(x.noted))] {
		x.byID[m.ref] = append(x.byID[m.ref], m.conv)
		x.mapped++
	}
	return x.mapped == len(x.noted)
}

func (x *messageIndex) reset() {
	clear(x.noted) // the ids are not to be kept
	x.noted, x.mapped = x.noted[:0], 0
	clear(x.byID)
}

func (x *index) addUser(r userRef, conv uint64) {
	if x.users == nil {
		x.users = map[userRef][]uint64{}
	}
	x.users[r] = append(x.users[r], conv)
}

func (x *index) reset() {
	x.messages.reset()
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
