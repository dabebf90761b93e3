package projector

import "github.com/receiptd/receiptd/projections"

// PartAlerts returns what each partition has decided about the alerts of an app.
func (p *Projector) PartAlerts(app string) ([]projections.PartAlerts, error) {
	return Collect(ofAll(p, func(part *projections.Partition) (projections.PartAlerts, error) { return part.Alerts(app), nil }))
}

// Alerts returns the alerts of an app that are kept, and the hour until whose beginning all are
// decided; see [projections.JoinAlerts].
func (p *Projector) Alerts(app string) (list []projections.Alert, upto int64, err error) {
	parts, err := p.PartAlerts(app)
	if err != nil {
		return nil, 0, err
	}
	list, upto = projections.JoinAlerts(parts)
	return list, upto, nil
}
