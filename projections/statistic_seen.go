package projections

import "github.com/receiptd/receiptd/events"

// statisticSeen decides statistic.seen: docs/rules.md, "The summary". Items that no event
// after the entry named has concerned are seen, and leave the summary; on one device, if one is
// named.
func (p *Partition) statisticSeen(a *app, i int) (events.Outcome, error) {
	x := p.scratch.attributes(i)
	u, err := p.author(a, p.scratch.user(i))
	if err != nil {
		return 0, err
	}
	if x.Device != "" {
		return events.OutcomeApplied, p.seenOn(u, x.Device, x.Upto)
	}
	outcome := events.OutcomeDuplicate
	if u.acknowledgeDropped(x.Upto) {
		p.changes.touchAuthor(u)
		outcome = events.OutcomeApplied
	}
	items, err := p.summaryItems(u, 0, u.next)
	if err != nil {
		return 0, err
	}
	for _, item := range items {
		c, m, err := p.resolve(item.value)
		if err != nil {
			return 0, err
		}
		if place := p.placeOf(u, c, m); place.last <= x.Upto {
			p.removeItem(u, item.n)
			outcome = events.OutcomeApplied
		}
	}
	return outcome, nil
}
