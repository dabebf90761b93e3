package projections

import "github.com/receiptd/receiptd/events"

// statisticSeen decides statistic.seen: docs/rules.md, "The summary". Items that no event
// after the entry named has concerned are seen, and leave the summary.
func (p *Partition) statisticSeen(a *app, i int) (events.Outcome, error) {
	upto := p.scratch.attributes(i).Upto
	u, err := p.author(a, p.scratch.user(i))
	if err != nil {
		return 0, err
	}
	items, err := p.summaryItems(u)
	if err != nil {
		return 0, err
	}
	outcome := events.OutcomeDuplicate
	if u.dropped > 0 && u.droppedAt <= upto {
		u.dropped = 0
		p.changes.touchAuthor(u)
		outcome = events.OutcomeApplied
	}
	for _, x := range items {
		c, m, err := p.resolve(x.value)
		if err != nil {
			return 0, err
		}
		var place *summaryPlace
		if m != nil {
			place = &m.place
		} else {
			place = &c.places[c.peerOf(u.user)]
		}
		if place.last > upto {
			continue
		}
		*place = summaryPlace{}
		if m != nil {
			p.changes.touchMessage(m)
		} else {
			p.changes.touchConv(c)
		}
		p.removeItem(u, x.n)
		outcome = events.OutcomeApplied
	}
	return outcome, nil
}
