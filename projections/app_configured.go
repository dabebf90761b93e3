package projections

import (
	"fmt"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// appConfigured decides app.configured: docs/rules.md, "app.configured".
func (p *Partition) appConfigured(i int) (events.Outcome, error) {
	x := p.scratch.attributes(i)
	if x.Settings == nil {
		return 0, fmt.Errorf("app.configured without settings")
	}
	key := p.scratch.conversation(i).App
	a := p.apps.byKey[key]
	if a == nil {
		if x.Revision == 0 {
			return events.OutcomeDuplicate, nil
		}
		a = newApp(uint32(len(p.apps.byNum)), strings.Clone(key))
		p.apps.add(a)
	}
	// The settings of the largest revision are in force.
	if x.Revision <= a.revision {
		return events.OutcomeDuplicate, nil
	}
	s := *x.Settings
	s.GroupReceipts.WhoMayRequest = strings.Clone(s.GroupReceipts.WhoMayRequest)
	s.GroupReceipts.Visibility = strings.Clone(s.GroupReceipts.Visibility)
	p.apps.configure(a, s, x.Revision)
	v, err := a.encode()
	if err != nil {
		return 0, err
	}
	p.changes.put(appKey(p.scratch.key(), a.key), v)
	return events.OutcomeApplied, nil
}
