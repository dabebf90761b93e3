package projections

// The rollup counts, for each cohort of messages, how many were delivered and read, and how soon: docs/rules.md,
// "Rollups". A message keeps the cohort it is counted in, so a receipt costs no look-up.

// cohortOf returns the cohort that the tracked message is counted in.
func (p *Partition) cohortOf(m *message) (*cohort, error) {
	if m.cohort != nil {
		return m.cohort, nil
	}
	c := m.conv
	k := cohortKey{app: c.app.num, sender: m.sender, conv: c.num, hour: floorHour(m.sentAt)}
	x := p.cohorts[k]
	if x == nil {
		x = &cohort{cohortKey: k, user: c.members[m.sender].user, group: c.name.group}
		if !c.group() {
			x.peer = c.members[1-m.sender].user
		}
		if err := p.loadCohort(x); err != nil {
			return nil, err
		}
		if err := p.findTotals(x); err != nil {
			return nil, err
		}
		p.keepCohort(x)
	}
	x.used = true
	x.refs++
	m.cohort = x
	return x, nil
}

// findTotals has a cohort point to its totals.
func (p *Partition) findTotals(x *cohort) error {
	k := cohortKey{app: x.app, hour: x.hour}
	if x.total = p.cohorts[k]; x.total == nil {
		x.total = &cohort{kind: HourTotal, cohortKey: k}
		if err := p.loadTotal(x.total); err != nil {
			return err
		}
	}
	if p.trackCohorts {
		k.hour = dayOf(x.hour)
		x.days = []*cohort{{kind: SenderDay, cohortKey: k, user: x.user}}
		if x.group != "" { // rows by group have no single chats
			k.conv = x.conv
			x.days = append(x.days, &cohort{kind: GroupDay, cohortKey: k, group: x.group})
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
func (p *Partition) loadTotal(x *cohort) error {
	err := p.loadCohort(x)
	if err == nil {
		p.keepCohort(x)
	}
	return err
}

// loadCohort fills a cohort with what is stored of it; it stays empty if nothing is.
func (p *Partition) loadCohort(x *cohort) error {
	v, err := p.back.Get(x.stateKey(p.key()))
	if v == nil || err != nil {
		return err
	}
	return x.decode(v)
}

func (p *Partition) keepCohort(x *cohort) {
	x.used = true
	switch x.kind {
	case GroupDay, SenderDay:
		p.days[x.dayKey()] = x
	default:
		p.cohorts[x.cohortKey] = x
	}
	if x.kind == OneCohort {
		p.cohortRing.add(x)
	} else {
		p.totalRing.add(x)
	}
	p.cacheBytes += x.cost()
}

// touchCohort marks a cohort, and the totals it is part of, for the next checkpoint.
func (p *Partition) touchCohort(x *cohort) {
	if x.epoch == p.epoch {
		return
	}
	for y := range x.counted {
		if y.epoch != p.epoch {
			y.epoch = p.epoch
			p.dirtyCohorts = append(p.dirtyCohorts, y)
		}
	}
}

// changing returns the cohort of a message whose numbers are about to change.
func (p *Partition) changing(m *message) (*cohort, error) {
	x, err := p.cohortOf(m)
	if err != nil {
		return nil, err
	}
	p.touchCohort(x)
	if p.trackCohorts && !x.changed {
		for y := range x.counted {
			if !y.changed {
				y.changed = true
				y.refs++
				p.changedCohorts = append(p.changedCohorts, y)
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
	x := m.cohort
	if x == nil || x.epoch != p.epoch || p.trackCohorts {
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
func (p *Partition) rollReadFurther(m *message, x *cohort, bin uint16) {
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

// grow counts a time in a cohort that has no room for it yet.
func (p *Partition) grow(x *cohort, bin uint16) {
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

// TakeCohorts appends the cohorts that the entries applied since the last call have changed, cohorts and totals, with their
// values now. Each is in the list once. It is for a partition opened with Options.TrackCohorts, and tells the whole rollup
// if the state is [Partition.CohortsComplete]. What was not taken before a checkpoint is not told by the partition that is
// opened from it: take and keep first, then commit.
func (p *Partition) TakeCohorts(dst []Cohort) []Cohort {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.changedCohorts {
		dst = append(dst, x.view(p.appsByNum[x.app].key))
		x.changed = false
		x.refs--
		p.changedCohorts[i] = nil
	}
	p.changedCohorts = p.changedCohorts[:0]
	p.settle()
	return dst
}

// cohortLayout says which cohorts TakeCohorts tells. It is another number whenever there are others.
const cohortLayout = 1

// CohortsComplete reports whether every entry of the state was folded with what TakeCohorts tells now. It is false for a state
// that an older version made, or a partition without Options.TrackCohorts: totals in it lack what was folded then, and
// it has to be folded again from the start.
func (p *Partition) CohortsComplete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cohortLayout == cohortLayout
}
