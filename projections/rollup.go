package projections

// The rollup counts, for each cohort of messages, how many were delivered and read, and how soon: docs/rules.md,
// "Rollups". A message keeps the cell it is counted in, so a receipt costs no look-up.

// cellOf returns the cell that the tracked message is counted in.
func (p *Partition) cellOf(m *message) (*cell, error) {
	if m.cell != nil {
		return m.cell, nil
	}
	c := m.conv
	k := cellKey{app: c.app.num, sender: m.sender, conv: c.num, hour: floorHour(m.sentAt)}
	x := p.cells[k]
	if x == nil {
		var err error
		if x, err = p.loadCell(k); err != nil {
			return nil, err
		}
		if x.user == "" { // a new one
			x.user, x.group = c.members[m.sender].user, c.name.group
			if !c.group() {
				x.peer = c.members[1-m.sender].user
			}
		}
		if x.total, err = p.totalOf(k); err != nil {
			return nil, err
		}
		x.total.refs++
		p.keepCell(x)
	}
	x.used = true
	x.refs++
	m.cell = x
	return x, nil
}

// totalOf returns the total of the hour of a cell.
func (p *Partition) totalOf(k cellKey) (*cell, error) {
	k = cellKey{app: k.app, hour: k.hour}
	if x := p.cells[k]; x != nil {
		x.used = true
		return x, nil
	}
	x, err := p.loadCell(k)
	if err == nil {
		p.keepCell(x)
	}
	return x, err
}

// loadCell reads a cell; it is an empty one if there is none.
func (p *Partition) loadCell(k cellKey) (*cell, error) {
	x := &cell{cellKey: k}
	v, err := p.back.Get(cellStateKey(p.key(), k))
	if v == nil || err != nil {
		return x, err
	}
	return x, x.decode(v)
}

func (p *Partition) keepCell(x *cell) {
	x.used = true
	p.cells[x.cellKey] = x
	if x.total != nil {
		p.cellRing.add(x)
	} else {
		p.totalRing.add(x)
	}
	p.cacheBytes += x.cost()
}

// touchCell marks a cell, and the total it is part of, for the next checkpoint.
func (p *Partition) touchCell(x *cell) {
	if x.epoch == p.epoch {
		return
	}
	x.epoch = p.epoch
	p.dirtyCells = append(p.dirtyCells, x)
	if x.total != nil {
		p.touchCell(x.total)
	}
}

// changing returns the cell of a message whose numbers are about to change.
func (p *Partition) changing(m *message) (*cell, error) {
	x, err := p.cellOf(m)
	if err != nil {
		return nil, err
	}
	p.touchCell(x)
	if p.trackCells {
		for y := x; y != nil && !y.changed; y = y.total {
			y.changed = true
			y.refs++
			p.changedCells = append(p.changedCells, y)
		}
	}
	return x, nil
}

// rollSent counts a message that was sent.
func (p *Partition) rollSent(m *message) error {
	if m.kind != msgTracked {
		return nil
	}
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for ; x != nil; x = x.total {
		x.messages++
		x.eligible += uint64(m.eligible)
	}
	return nil
}

// rollDelivered counts a message of a single chat that was delivered and not read.
func (p *Partition) rollDelivered(m *message) error {
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for ; x != nil; x = x.total {
		x.onlyDelivered++
	}
	return nil
}

// rollRead counts a read at the fold's clock.
func (p *Partition) rollRead(m *message) error {
	x := m.cell
	if x == nil || x.epoch != p.epoch || p.trackCells {
		var err error
		if x, err = p.changing(m); err != nil {
			return err
		}
	}
	bin := TimeBin(p.clock - m.sentAt)
	if !x.add(bin) {
		p.grow(x, bin)
	}
	if !x.total.add(bin) {
		p.grow(x.total, bin)
	}
	if m.deliveredAt != 0 {
		x.onlyDelivered--
		x.total.onlyDelivered--
	}
	return nil
}

// grow counts a time in a cell that has no room for it yet.
func (p *Partition) grow(x *cell, bin uint16) {
	before := x.cost()
	x.grow(bin)
	p.cacheBytes += x.cost() - before
}

// rollRecalled takes a message that is about to be recalled out of all numbers but that of the recalled ones.
func (p *Partition) rollRecalled(m *message) error {
	if m.kind != msgTracked {
		return nil
	}
	first, err := p.changing(m)
	if err != nil {
		return err
	}
	for x := first; x != nil; x = x.total {
		x.messages--
		x.eligible -= uint64(m.eligible)
		x.recalled++
		if m.deliveredAt != 0 && m.readers == 0 {
			x.onlyDelivered--
		}
		exact := true
		err := m.eachReader(func(_ uint32, at int64, _ []byte) bool {
			exact = x.remove(TimeBin(at - m.sentAt))
			return exact
		})
		if err != nil {
			return err
		}
		if !exact {
			return errCorrupt
		}
	}
	return nil
}

// TakeCells appends the cells that the entries applied since the last call have changed, with their values now, and the
// totals of their hours, which have no sender. Each is in the list once. It is for a partition opened with
// Options.TrackCells. What was not taken before a checkpoint is not told by the partition that is opened from it: take
// and keep first, then commit.
func (p *Partition) TakeCells(dst []Cell) []Cell {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.changedCells {
		dst = append(dst, x.view(p.appsByNum[x.app].key))
		x.changed = false
		x.refs--
		p.changedCells[i] = nil
	}
	p.changedCells = p.changedCells[:0]
	p.settle()
	return dst
}
