package projections

// Checkpoint is what changed in a partition up to a position, ready to be written in one piece. It
// does not change while the fold goes on.
type Checkpoint struct {
	// Sequence is the log entry that the state stands on: everything up to it is in.
	Sequence uint64

	epoch    uint64
	writes   writes
	messages []messageChange

	// The cohorts and totals as they were, and the memory of their distributions.
	cohorts []cohort
	sparse  []uint16
	dense   []uint32
}

// messageChange is a message as it was: a copy of the header, and the read set, of most messages a
// prefix of the log, which only grows.
type messageChange struct {
	app  uint32
	conv uint64
	id   string
	header
	log []byte
}

// Capture takes what changed since the last capture, which must have been committed. The fold is
// stopped for the time of a copy of each changed message's header, not of its read set. The error
// is that of an Apply that failed: what it left behind must not be stored.
func (p *Partition) Capture() (*Checkpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return nil, p.failed
	}
	x := &p.changes
	c := x.spare
	if c == nil {
		c = &Checkpoint{}
	}
	x.spare = nil
	c.Sequence, c.epoch = p.position.seq, x.epoch
	p.captureSmall()
	x.captureCohorts(c)
	x.captureMessages(c)
	c.writes, x.writes = x.writes, c.writes
	x.writes.reset()
	x.epoch++
	p.changes.indexes.capture()
	return c, nil
}

// captureSmall writes everything except the messages and the cohorts.
func (p *Partition) captureSmall() {
	x := &p.changes
	var v []byte
	for i, c := range x.conversations {
		if c.group() {
			p.captureListed(c)
		}
		v = c.encodeHeader(v[:0])
		x.put(convKey(p.scratch.key(), c.num), v)
		for _, o := range c.changed {
			v = c.members[o].encode(v[:0])
			x.put(memberKey(p.scratch.key(), c.num, o), v)
		}
		c.changed = c.changed[:0]
		x.conversations[i] = nil
	}
	x.conversations = x.conversations[:0]
	for i, u := range x.authors {
		v = u.encode(v[:0], &p.scratch.block)
		x.put(authorKey(p.scratch.key(), u.app.num, u.user), v)
		x.authors[i] = nil
	}
	x.authors = x.authors[:0]
	for _, a := range p.apps.byNum {
		p.saveRejections(a)
		p.saveAlerts(a)
	}
	p.saveRepeats()
	if x.meta {
		x.put(append(p.scratch.key(), tableMeta), p.encodeMeta(v[:0]))
		x.meta = false
		p.captureTree()
	}
	if k := &p.position.clock; k.changed {
		x.put(append(p.scratch.key(), tableClock), k.encode(v[:0]))
		k.changed = false
	}
}

// captureCohorts copies the cohorts that changed. They are encoded while the fold goes on.
func (x *changes) captureCohorts(c *Checkpoint) {
	c.cohorts, c.sparse, c.dense = c.cohorts[:0], c.sparse[:0], c.dense[:0]
	for _, y := range x.cohorts {
		sparse, dense := len(c.sparse), len(c.dense)
		c.sparse, c.dense = append(c.sparse, y.sparse...), append(c.dense, y.dense...)
		c.cohorts = append(c.cohorts, *y)
		z := &c.cohorts[len(c.cohorts)-1]
		z.sparse, z.dense, z.total, z.days = c.sparse[sparse:], c.dense[dense:], nil, nil
	}
	x.cohorts, x.capturedCohorts = x.capturedCohorts, x.cohorts
}

func (x *changes) captureMessages(c *Checkpoint) {
	c.messages = c.messages[:0]
	for i, m := range x.messages {
		c.messages = append(c.messages, messageChange{
			app: m.conv.app.num, conv: m.conv.num, id: m.id, header: m.header, log: m.stored(),
		})
		x.messages[i] = nil
	}
	x.messages = x.messages[:0]
}

// Committed tells the partition that a capture is safe in its backing; the cache may now evict what
// it contains. The checkpoint must not be used any more.
func (p *Partition) Committed(c *Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := &p.changes
	x.committed, p.cache.floor = c.epoch, 0
	clear(c.messages)
	clear(c.cohorts)
	clear(x.capturedCohorts)
	x.capturedCohorts = x.capturedCohorts[:0]
	c.writes.reset()
	p.changes.indexes.commit()
	x.spare = c
}

// Changes is the number of objects that changed since the last capture: how large the next one will
// be.
func (p *Partition) Changes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes.count()
}

// SetCacheBytes changes the bound of the cached state: see [Options]. What is above a lower one
// goes bit by bit, as entries are folded and questions asked.
func (p *Partition) SetCacheBytes(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cache.budget = n
}

// Each passes every change to put or del, in the order of the fold. Key and value are valid during
// the call only.
func (c *Checkpoint) Each(put func(key, value []byte) error, del func(key []byte) error) error {
	if err := c.writes.each(put, del); err != nil {
		return err
	}
	var key, value []byte
	for i := range c.cohorts {
		x := &c.cohorts[i]
		key = x.key(key[:0])
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
