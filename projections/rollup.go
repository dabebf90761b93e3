package projections

// The rollup counts, for each cohort of messages, how many were delivered and read, and how soon:
// docs/rules.md, "Rollups". A message keeps the cohort it is counted in, so a receipt costs no
// look-up.

// cohortOf returns the cohort of a tracked message.
func (p *Partition) cohortOf(m *message) (*cohort, error) {
	if m.cohort != nil {
		return m.cohort, nil
	}
	c := m.conv
	k := cohortKey{app: c.app.num, sender: m.sender, conv: c.num, label: m.label, hour: floorHour(m.sentAt)}
	x := p.cache.cohortByKey[k]
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
		p.cache.addCohort(x)
	}
	x.used = true
	x.refs++
	m.cohort = x
	return x, nil
}

// findTotals makes a cohort point to its totals.
func (p *Partition) findTotals(x *cohort) error {
	k := cohortKey{app: x.app, hour: x.hour}
	if x.total = p.cache.cohortByKey[k]; x.total == nil {
		x.total = &cohort{kind: HourTotal, cohortKey: k}
		if err := p.loadTotal(x.total); err != nil {
			return err
		}
	}
	if p.taps.trackCohorts {
		k.hour = dayOf(x.hour)
		x.days = []*cohort{{kind: SenderDay, cohortKey: k, user: x.user}}
		if x.group != "" { // rows by group have no single chats
			k.conv = x.conv
			x.days = append(x.days, &cohort{kind: GroupDay, cohortKey: k, group: x.group})
		}
	}
	for i, y := range x.days {
		if cached := p.cache.totalByDay[y.dayKey()]; cached != nil {
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

// loadTotal fills a total that is not cached, and caches it.
func (p *Partition) loadTotal(x *cohort) error {
	err := p.loadCohort(x)
	if err == nil {
		p.cache.addCohort(x)
	}
	return err
}

// loadCohort fills a cohort or total with what is stored of it; it stays empty if nothing is.
func (p *Partition) loadCohort(x *cohort) error {
	v, err := p.back.Get(x.key(p.scratch.key()))
	if v == nil || err != nil {
		return err
	}
	return x.decode(v)
}

// changing returns the cohort of a message whose numbers are about to change.
func (p *Partition) changing(m *message) (*cohort, error) {
	x, err := p.cohortOf(m)
	if err != nil {
		return nil, err
	}
	p.changes.touchCohort(x)
	if p.taps.trackCohorts {
		p.taps.addCohort(x)
	}
	return x, nil
}

// countSent counts a message that was sent.
func (p *Partition) countSent(m *message) error {
	if !m.collects() {
		return nil
	}
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for y := range x.withTotals {
		y.messages++
		y.eligible += uint64(m.eligible)
	}
	return nil
}

// countDelivered counts a message of a single chat that was delivered and not read.
func (p *Partition) countDelivered(m *message) error {
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for y := range x.withTotals {
		y.onlyDelivered++
	}
	return nil
}

// countRead counts a read at a time.
func (p *Partition) countRead(m *message, at int64) error {
	x := m.cohort
	if x == nil || x.epoch != p.changes.epoch || p.taps.trackCohorts {
		var err error
		if x, err = p.changing(m); err != nil {
			return err
		}
	}
	bin := TimeBin(at - m.sentAt)
	if !x.add(bin) {
		p.growCohort(x, bin)
	}
	if !x.total.add(bin) {
		p.growCohort(x.total, bin)
	}
	if len(x.days) > 0 || m.deliveredAt != 0 {
		p.countReadFurther(m, x, bin)
	}
	return nil
}

// countReadFurther does what few reads need: it counts them in totals of days, and takes a message
// that was delivered before out of those that are only delivered.
func (p *Partition) countReadFurther(m *message, x *cohort, bin uint16) {
	for _, day := range x.days {
		if !day.add(bin) {
			p.growCohort(day, bin)
		}
	}
	if m.deliveredAt != 0 {
		for y := range x.withTotals {
			y.onlyDelivered--
		}
	}
}

// countUntimed counts a reader of a counted message, whose time is not kept: a recall could not
// take it out again.
func (p *Partition) countUntimed(m *message) error {
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for y := range x.withTotals {
		y.untimed++
	}
	return nil
}

// growCohort counts a time in a cohort or total that has no room for it yet.
func (p *Partition) growCohort(x *cohort, bin uint16) {
	before := x.cost()
	x.grow(bin)
	p.cache.bytes += x.cost() - before
}

// countRecalled takes a message that is about to be recalled out of all numbers except that of the
// recalled ones.
func (p *Partition) countRecalled(m *message) error {
	if !m.collects() {
		return nil
	}
	x, err := p.changing(m)
	if err != nil {
		return err
	}
	for y := range x.withTotals {
		y.messages--
		y.eligible -= uint64(m.eligible)
		y.recalled++
		if m.counted() {
			y.untimed -= uint64(m.readers)
			continue
		}
		if m.deliveredAt != 0 && m.readers == 0 {
			y.onlyDelivered--
		}
		found := true
		err := m.eachReader(func(_ uint32, at int64, _ []byte) bool {
			found = y.remove(TimeBin(at - m.sentAt))
			return found
		})
		if err != nil {
			return err
		}
		if !found {
			return errCorrupt
		}
	}
	return nil
}

// cohortLayout is the version of the rollup that this version folds. It is another number whenever
// there are other totals.
const cohortLayout = 1

// CohortsComplete reports whether every entry of the state was folded with the cohorts and totals
// that TakeCohorts returns now. It is false for a state that an older version made, or a partition
// without Options.TrackCohorts: totals in it lack what was folded then, and it has to be folded
// again from the start.
func (p *Partition) CohortsComplete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taps.cohortLayout == cohortLayout
}

// TakeCohorts appends to dst the cohorts and totals that the entries applied since the last call
// have changed, with their values now, each once. It is for a partition opened with
// Options.TrackCohorts. If the state is [Partition.CohortsComplete], all that was ever taken is the
// whole rollup. What was not taken before a checkpoint is not returned by the partition that is
// opened from it: take and store first, then commit.
func (p *Partition) TakeCohorts(dst []Cohort) []Cohort {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.taps.cohorts {
		dst = append(dst, x.view(p.apps.byNum[x.app]))
		x.tapped = false
		x.refs--
		p.taps.cohorts[i] = nil
	}
	p.taps.cohorts = p.taps.cohorts[:0]
	p.evict()
	return dst
}
