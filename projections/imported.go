package projections

import "github.com/receiptd/receiptd/events"

// decideImported decides an event that states its own time: docs/rules.md, "Imported events".
func (p *Partition) decideImported(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	at, now := e.batch.Times[i], p.position.clock.now
	if at > now {
		return events.RejectedImportAhead, nil
	}
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	if c != nil && at < min(c.imported, now) {
		return events.RejectedImportBehind, nil
	}
	e.imported = true
	o, err := p.decideKind(a, i)
	e.imported = false
	if err != nil || o != events.OutcomeApplied && o != events.OutcomeHidden {
		return o, err
	}
	if c = e.convs[e.batch.Conv[i]]; c.imported != at { // the event may have made it
		c.imported = at
		p.changes.touchConv(c)
	}
	return o, nil
}

// ago is how long before now event i happened, as far as that is gone by: docs/rules.md, "The time
// of reading" and "Imported events".
func (p *Partition) ago(a *app, i int) int64 {
	b := p.scratch.batch
	if len(b.Times) == 0 || b.Times[i] == 0 {
		return 0
	}
	now := p.position.clock.now
	switch {
	case p.scratch.imported:
		return now - b.Times[i]
	case a.maxReportAge == 0 || b.Kinds[i] == events.MessageSent:
		return 0
	}
	return now - min(max(b.Times[i], now-a.maxReportAge), now)
}
