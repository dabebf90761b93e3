package web

import (
	"fmt"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// maxShownAlerts bounds the alerts on the overview; receiptctl and the API have the rest.
const maxShownAlerts = 5

// narrowedBy names the parameters that narrow the overview to what a rule is by.
var narrowedBy = map[events.AlertBy]string{events.AlertByGroup: "group", events.AlertBySender: "sender", events.AlertByLabel: "label"}

// alertView is an alert in words.
type alertView struct {
	Rule, Subject string
	// Narrow is the parameter that narrows the overview to the subject.
	Narrow         string
	Read, Eligible uint64
	Share          string
	// Within is the time that the rule gives readers, Below what of the recipients it asks for.
	Within, Below string
	// Sent is the beginning of the hour of the messages, in the zone of the view.
	Sent string
}

// alerts are those that became due in the span, newest first, of what the overview is narrowed to.
// More is how many there are besides.
func (p *Page) alerts(rq *request) (list []alertView, more int, err error) {
	all, _, err := p.cfg.State.Alerts(rq.key)
	if err != nil {
		return nil, 0, fmt.Errorf("alerts: %w", err)
	}
	s := &rq.Span
	for _, x := range slices.Backward(all) {
		due := time.UnixMilli(x.Due() * projections.HourMillis)
		if due.Before(s.from) {
			break
		}
		if !due.Before(s.to) || !rq.concerns(&x) {
			continue
		}
		if len(list) == maxShownAlerts {
			more++
			continue
		}
		list = append(list, newAlertView(&x, s.zone))
	}
	return list, more, nil
}

// concerns reports whether an alert is of what the view is narrowed to, and of nothing wider.
func (f *filter) concerns(x *projections.Alert) bool {
	for by, id := range map[events.AlertBy]string{events.AlertByGroup: f.Group, events.AlertBySender: f.Sender, events.AlertByLabel: f.Label} {
		if id != "" && (x.Rule.By != by || x.Key != id) {
			return false
		}
	}
	return true
}

func newAlertView(x *projections.Alert, zone *time.Location) alertView {
	v := alertView{
		Rule: x.Rule.Name, Subject: x.Key, Narrow: narrowedBy[x.Rule.By], Read: x.Read, Eligible: x.Eligible, Share: percent(ratio(x.Read, x.Eligible)),
		Below: percent(float64(x.Rule.Percent()) / 100), Sent: time.UnixMilli(x.Hour * projections.HourMillis).In(zone).Format("Jan 2, 15:04"),
	}
	within := x.Rule.After
	if x.Rule.MedianAbove > 0 {
		within = x.Rule.MedianAbove
	}
	v.Within = millis(float64(within.Milliseconds()))
	return v
}
