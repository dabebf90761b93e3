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
		x = &cell{cellKey: k, user: c.members[m.sender].user, group: c.name.group}
		if !c.group() {
			x.peer = c.members[1-m.sender].user
		}
		if err := p.loadCell(x); err != nil {
			return nil, err
		}
		if err := p.findTotals(x); err != nil {
			return nil, err
		}
		p.keepCell(x)
	}
	x.used = true
	x.refs++
	m.cell = x
	return x, nil
}

// findTotals has a cohort point to its totals.
func (p *Partition) findTotals(x *cell) error {
	k := cellKey{app: x.app, hour: x.hour}
	if x.total = p.cells[k]; x.total == nil {
		x.total = &cell{kind: HourTotal, cellKey: k}
		if err := p.loadTotal(x.total); err != nil {
			return err
		}
	}
	if p.trackCells {
		k.hour = dayOf(x.hour)
		x.days = []*cell{{kind: SenderDay, cellKey: k, user: x.user}}
		if x.group != "" { // rows by group have no single chats
			k.conv = x.conv
			x.days = append(x.days, &cell{kind: GroupDay, cellKey: k, group: x.group})
		}
	}
	for i, y := range x.days {
		if cached := p.days[y.dayKey()]; cached != nil {
			x.days[i] = cached
		} else if err := p.loadTotal(y); err != nil {
			return err
		}
	}
	for y := range x.totals {
		y.used = true
		y.refs++
	}
	return nil
}

// loadTotal fills a total that is not cached, and keeps it.
func (p *Partition) loadTotal(x *cell) error {
	err := p.loadCell(x)
	if err == nil {
		p.keepCell(x)
	}
	return err
}

// loadCell fills a cell with what is stored of it; it stays empty if nothing is.
func (p *Partition) loadCell(x *cell) error {
	v, err := p.back.Get(x.stateKey(p.key()))
	if v == nil || err != nil {
		return err
	}
	return x.decode(v)
}

func (p *Partition) keepCell(x *cell) {
	x.used = true
	switch x.kind {
	case GroupDay, SenderDay:
		p.days[x.dayKey()] = x
	default:
		p.cells[x.cellKey] = x
	}
	if x.kind == Cohort {
		p.cellRing.add(x)
	} else {
		p.totalRing.add(x)
	}
	p.cacheBytes += x.cost()
}

// touchCell marks a cohort, and the totals it is part of, for the next checkpoint.
func (p *Partition) touchCell(x *cell) {
	if x.epoch == p.epoch {
		return
	}
	for y := range x.counted {
		if y.epoch != p.epoch {
			y.epoch = p.epoch
			p.dirtyCells = append(p.dirtyCells, y)
		}
	}
}

// changing returns the cell of a message whose numbers are about to change.
func (p *Partition) changing(m *message) (*cell, error) {
	x, err := p.cellOf(m)
	if err != nil {
		return nil, err
	}
	p.touchCell(x)
	if p.trackCells && !x.changed {
		for y := range x.counted {
			if !y.changed {
				y.changed = true
				y.refs++
				p.changedCells = append(p.changedCells, y)
			}
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
	for y := range x.counted {
		y.messages++
		y.eligible += uint64(m.eligible)
	}
	return nil
}

// rollDelivered counts a message of a single chat that was delivered and not read.
func (p *Partition) rollDelivered(m *message) error {
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for y := range x.counted {
		y.onlyDelivered++
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
	if len(x.days) > 0 || m.deliveredAt != 0 {
		p.rollReadFurther(m, x, bin)
	}
	return nil
}

// rollReadFurther does what few reads need: counts them in totals of days, and takes a message that was delivered before out
// of those that are only delivered.
func (p *Partition) rollReadFurther(m *message, x *cell, bin uint16) {
	for _, day := range x.days {
		if !day.add(bin) {
			p.grow(day, bin)
		}
	}
	if m.deliveredAt != 0 {
		for y := range x.counted {
			y.onlyDelivered--
		}
	}
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
	cohort, err := p.changing(m)
	if err != nil {
		return err
	}
	for x := range cohort.counted {
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

// TakeCells appends the cells that the entries applied since the last call have changed, cohorts and totals, with their
// values now. Each is in the list once. It is for a partition opened with Options.TrackCells, and tells the whole rollup
// if the state is [Partition.CellsWhole]. What was not taken before a checkpoint is not told by the partition that is
// opened from it: take and keep first, then commit.
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

// cellForm says which cells TakeCells tells. It is another number whenever there are others.
const cellForm = 1

// CellsWhole reports whether every entry of the state was folded with what TakeCells tells now. It is false for a state
// that an older version made, or a partition without Options.TrackCells: totals in it lack what was folded then, and
// it has to be folded again from the start.
func (p *Partition) CellsWhole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cellForm == cellForm
}
