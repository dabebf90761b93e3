package projections

// Checkpoint is what changed in a partition up to a position, ready to be written in one piece. It
// does not change any more while the fold goes on.
type Checkpoint struct {
	// Sequence is the log entry the state stands on: everything up to it is in.
	Sequence uint64

	epoch    uint64
	writes   writes
	messages []messageChange

	// The cohorts as they were, and what their distributions lie in.
	cohorts []cohort
	few     []uint16
	many    []uint32
}

// messageChange is a message as it was: the header is a copy, the log a prefix of what only grows.
type messageChange struct {
	app  uint32
	conv uint64
	id   string
	header
	log []byte
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

func (p *Partition) put(key, value []byte) {
	w := &p.puts
	w.buf = append(append(w.buf, key...), value...)
	w.ops = append(w.ops, write{key: len(key), value: len(value)})
}

func (p *Partition) del(key []byte) {
	w := &p.puts
	w.buf = append(w.buf, key...)
	w.ops = append(w.ops, write{key: len(key), del: true})
}

// firstPut is a put of a key that was never set before, while epoch is the checkpoint under way.
type firstPut struct {
	epoch uint64
	index int // in the writes
}

func (p *Partition) putFirst(key, value []byte) firstPut {
	p.put(key, value)
	return firstPut{p.epoch, len(p.puts.ops) - 1}
}

// undo removes the key of a first put: if no checkpoint has it yet, as if it had never been.
func (p *Partition) undo(f firstPut, key []byte) {
	if f.epoch == p.epoch {
		p.puts.ops[f.index].undone = true
		return
	}
	p.del(key)
}

// Capture takes what changed since the last capture. The one before has to be committed. The fold is stopped
// for the time of a copy of each changed message's header, not of its read set. The error is that of an Apply
// that failed: what it left behind must not be kept.
func (p *Partition) Capture() (*Checkpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return nil, p.failed
	}
	c := p.spare
	if c == nil {
		c = &Checkpoint{}
	}
	p.spare = nil
	c.Sequence, c.epoch = p.seq, p.epoch
	p.captureSmall()
	p.captureCohorts(c)
	c.messages = c.messages[:0]
	for i, m := range p.dirtyMessages {
		c.messages = append(c.messages, messageChange{
			app: m.conv.app.num, conv: m.conv.num, id: m.id, header: m.header, log: m.log,
		})
		p.dirtyMessages[i] = nil
	}
	p.dirtyMessages = p.dirtyMessages[:0]
	c.writes, p.puts = p.puts, c.writes
	p.puts.reset()
	p.epoch++
	p.captured, p.dirty = p.dirty, p.captured
	p.dirty.reset()
	return c, nil
}

// captureCohorts copies the cohorts that changed; their stored form is made while the fold goes on.
func (p *Partition) captureCohorts(c *Checkpoint) {
	c.cohorts, c.few, c.many = c.cohorts[:0], c.few[:0], c.many[:0]
	for _, x := range p.dirtyCohorts {
		few, many := len(c.few), len(c.many)
		c.few, c.many = append(c.few, x.few...), append(c.many, x.many...)
		c.cohorts = append(c.cohorts, *x)
		y := &c.cohorts[len(c.cohorts)-1]
		y.few, y.many, y.total, y.days = c.few[few:], c.many[many:], nil, nil
	}
	p.dirtyCohorts, p.capturedCohorts = p.capturedCohorts, p.dirtyCohorts
}

// captureSmall writes everything but the messages and the cohorts.
func (p *Partition) captureSmall() {
	var v []byte
	for i, c := range p.dirtyConvs {
		v = c.encodeHeader(v[:0])
		p.put(convKey(p.key(), c.num), v)
		for _, o := range c.dirty {
			v = c.members[o].encode(v[:0])
			p.put(memberKey(p.key(), c.num, o), v)
		}
		c.dirty = c.dirty[:0]
		p.dirtyConvs[i] = nil
	}
	p.dirtyConvs = p.dirtyConvs[:0]
	for i, u := range p.dirtyAuthors {
		v = u.encode(v[:0])
		p.put(authorKey(p.key(), u.app.num, u.user), v)
		p.dirtyAuthors[i] = nil
	}
	p.dirtyAuthors = p.dirtyAuthors[:0]
	for _, a := range p.appsByNum {
		p.saveRejections(a)
	}
	if p.metaDirty {
		p.put(append(p.key(), tableMeta), p.encodeMeta(v[:0]))
		p.metaDirty = false
	}
}

// Committed tells the partition that a capture is safe in its backing; the cache may let go of what it held.
// The checkpoint must not be used any more.
func (p *Partition) Committed(c *Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed, p.held = c.epoch, 0
	clear(c.messages)
	clear(c.cohorts)
	clear(p.capturedCohorts)
	p.capturedCohorts = p.capturedCohorts[:0]
	c.writes.reset()
	p.captured.reset()
	p.spare = c
}

// Changes is the number of objects that changed since the last capture: how large the next one will be.
func (p *Partition) Changes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.dirtyMessages) + len(p.dirtyConvs) + len(p.dirtyCohorts) + len(p.puts.ops)
}

// Each gives every change to put or del, keys set in the order of the fold. Key and value are valid during
// the call only.
func (c *Checkpoint) Each(put func(key, value []byte) error, del func(key []byte) error) error {
	buf := c.writes.buf
	for _, w := range c.writes.ops {
		key, rest := buf[:w.key], buf[w.key:]
		var err error
		switch {
		case w.undone:
		case w.del:
			err = del(key)
		default:
			err = put(key, rest[:w.value])
		}
		if err != nil {
			return err
		}
		buf = rest[w.value:]
	}
	var key, value []byte
	for i := range c.cohorts {
		x := &c.cohorts[i]
		key = x.stateKey(key[:0])
		value = x.encode(value[:0])
		if err := put(key, value); err != nil {
			return err
		}
	}
	for i := range c.messages {
		m := &c.messages[i]
		key = messageKey(key[:0], m.app, m.id, m.conv)
		value = m.header.encode(value[:0], m.log)
		if err := put(key, value); err != nil {
			return err
		}
	}
	return nil
}
