package projections

// changes are what the next checkpoint has to write: the objects that changed since the last
// capture, each once, and the keys of lists, which are written as they change.
type changes struct {
	// epoch numbers the checkpoint that the changes go into, committed the last one that is safe in
	// the backing. An object whose own epoch is this one is in its list already.
	epoch, committed uint64

	messages      []*message
	conversations []*conversation
	authors       []*author
	cohorts       []*cohort
	meta          bool
	writes        writes
	indexes       indexes

	// capturedCohorts were captured by the checkpoint that is not committed yet.
	capturedCohorts []*cohort
	spare           *Checkpoint // the last committed one, for its memory
}

func (x *changes) touchMessage(m *message) {
	if m.epoch != x.epoch {
		m.epoch = x.epoch
		x.messages = append(x.messages, m)
	}
}

// touchConv marks the header of a conversation.
func (x *changes) touchConv(c *conversation) {
	if c.epoch != x.epoch {
		c.epoch = x.epoch
		x.conversations = append(x.conversations, c)
	}
}

// touchMember marks a member. Both sides of a single chat are part of its header.
func (x *changes) touchMember(c *conversation, o uint32) {
	x.touchConv(c)
	if m := &c.members[o]; c.group() && m.epoch != x.epoch {
		m.epoch = x.epoch
		c.changed = append(c.changed, o)
	}
}

func (x *changes) touchAuthor(u *author) {
	if u.epoch != x.epoch {
		u.epoch = x.epoch
		x.authors = append(x.authors, u)
	}
}

// touchCohort marks a cohort, and the totals it is part of.
func (x *changes) touchCohort(c *cohort) {
	if c.epoch == x.epoch {
		return
	}
	for y := range c.withTotals {
		if y.epoch != x.epoch {
			y.epoch = x.epoch
			x.cohorts = append(x.cohorts, y)
		}
	}
}

// count is how many objects and keys changed.
func (x *changes) count() int {
	return len(x.messages) + len(x.conversations) + len(x.authors) + len(x.cohorts) + len(x.writes.ops)
}

// writes is a list of keys set and removed, in order, in one piece of memory.
type writes struct {
	buf []byte
	ops []write
}

type write struct {
	key, value int // lengths
	del        bool
	undone     bool
}

func (w *writes) reset() { w.buf, w.ops = w.buf[:0], w.ops[:0] }

func (x *changes) put(key, value []byte) {
	w := &x.writes
	w.buf = append(append(w.buf, key...), value...)
	w.ops = append(w.ops, write{key: len(key), value: len(value)})
}

func (x *changes) del(key []byte) {
	w := &x.writes
	w.buf = append(w.buf, key...)
	w.ops = append(w.ops, write{key: len(key), del: true})
}

// firstPut is where a key that was never set before is put.
type firstPut struct {
	epoch uint64
	index int // in the writes of that epoch
}

func (x *changes) putFirst(key, value []byte) firstPut {
	x.put(key, value)
	return firstPut{x.epoch, len(x.writes.ops) - 1}
}

// undo removes the key of a first put. If no checkpoint has it yet, none will.
func (x *changes) undo(f firstPut, key []byte) {
	if f.epoch == x.epoch {
		x.writes.ops[f.index].undone = true
		return
	}
	x.del(key)
}

// each passes on the writes that were not undone, in order.
func (w *writes) each(put func(key, value []byte) error, del func(key []byte) error) error {
	buf := w.buf
	for _, op := range w.ops {
		key, rest := buf[:op.key], buf[op.key:]
		var err error
		switch {
		case op.undone:
		case op.del:
			err = del(key)
		default:
			err = put(key, rest[:op.value])
		}
		if err != nil {
			return err
		}
		buf = rest[op.value:]
	}
	return nil
}
