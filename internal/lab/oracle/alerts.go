package oracle

import (
	"cmp"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Alerts: what is due when T moves on, from every message that there is.

// judge decides what has become due since T was at a time.
func (m *Model) judge(before int64) {
	from, to := hourStart(before), hourStart(m.time.t)
	for _, a := range m.apps {
		var decided []projections.Alert
		for _, rule := range a.settings.Alerts {
			for _, x := range a.judgedBy(rule) {
				if due := dueTime(&x); due > from && due <= to {
					decided = append(decided, x)
				}
			}
		}
		slices.SortFunc(decided, func(x, y projections.Alert) int {
			return cmp.Or(cmp.Compare(dueTime(&x), dueTime(&y)), cmp.Compare(x.Eligible, y.Eligible),
				cmp.Compare(x.Rule.Name, y.Rule.Name), cmp.Compare(x.Key, y.Key))
		})
		for _, x := range decided {
			switch {
			case x.Rule.By != events.AlertByGroup && x.Eligible > 0:
				a.alertParts = append(a.alertParts, x)
			case x.Rule.By == events.AlertByGroup && isAlert(&x):
				a.alerts = append(a.alerts, x)
			}
		}
		a.alerts = lastOf(a.alerts, m.limits.MaxAlerts)
		kept := lastOf(a.alertParts, m.limits.MaxAlertParts)
		a.partsDropped = a.partsDropped || len(kept) < len(a.alertParts)
		a.alertParts = kept
	}
}

func lastOf(list []projections.Alert, n int) []projections.Alert {
	return list[max(0, len(list)-n):]
}

func hourStart(ms int64) int64 { return time.UnixMilli(ms).UTC().Truncate(time.Hour).UnixMilli() }

func dueTime(x *projections.Alert) int64 {
	return time.UnixMilli(x.Hour * anHour).Add(time.Hour).Add(time.Duration(x.Rule.After)).UnixMilli()
}

// judgedBy are the numbers of all subjects and hours that a rule judges, due or not.
func (a *app) judgedBy(rule events.AlertRule) (list []projections.Alert) {
	type of struct {
		subject string
		hour    int64
	}
	found := map[of]*projections.Alert{}
	for _, c := range a.conversations {
		for _, msg := range c.messages {
			subject := map[events.AlertBy]string{
				events.AlertByGroup: c.name.Group, events.AlertBySender: msg.from, events.AlertByLabel: msg.label,
			}[rule.By]
			if !msg.collects() || msg.recalled || subject == "" || rule.ID != "" && rule.ID != subject {
				continue
			}
			key := of{subject, hourStart(msg.sentAt) / anHour}
			if found[key] == nil {
				found[key] = &projections.Alert{Rule: rule, Key: subject, Hour: key.hour}
			}
			x := found[key]
			x.Messages++
			x.Eligible += uint64(len(msg.eligible))
			for _, r := range msg.readers {
				within := rule.MedianAbove.Milliseconds()
				if rule.MedianAbove == 0 || msg.kind == counted || projections.TimeBin(r.ReadAt-msg.sentAt) <= projections.TimeBin(within) {
					x.Read++
				}
			}
		}
	}
	for _, x := range found {
		list = append(list, *x)
	}
	return list
}

// isAlert judges the numbers of an hour.
func isAlert(x *projections.Alert) bool {
	if x.Eligible == 0 || x.Eligible < uint64(x.Rule.MinRecipients) {
		return false
	}
	if x.Rule.MedianAbove > 0 {
		return 2*x.Read < x.Eligible
	}
	return float64(x.Read)/float64(x.Eligible) < float64(x.Rule.ReadBelow)/100
}

// DecidedAlerts are the alerts of groups that are kept of an app, and the parts, each in the order
// in which they were decided.
func (m *Model) DecidedAlerts(key string) (groups, parts []projections.Alert) {
	if a := m.apps[key]; a != nil {
		return a.alerts, a.alertParts
	}
	return nil, nil
}

// Alerts lists an app's alerts of all partitions, in their order.
func (c *Cluster) Alerts(key string) []projections.Alert {
	type subject struct {
		rule events.AlertRule
		name string
		hour int64
	}
	of := func(x *projections.Alert) subject { return subject{x.Rule, x.Key, x.Hour} }
	told, sums := map[subject]projections.Alert{}, map[subject]projections.Alert{}
	begun := func(due int64) bool {
		return !slices.ContainsFunc(c.Partitions, func(m *Model) bool { return due > m.time.t })
	}
	dropped := func(due int64) bool {
		return slices.ContainsFunc(c.Partitions, func(m *Model) bool {
			a := m.apps[key]
			// What is due with the oldest that is kept may be there in part.
			return a != nil && a.partsDropped && due <= dueTime(&a.alertParts[0])
		})
	}
	for _, m := range c.Partitions {
		groups, parts := m.DecidedAlerts(key)
		for i := range groups {
			told[of(&groups[i])] = groups[i]
		}
		last := map[subject]projections.Alert{}
		for i := range parts {
			last[of(&parts[i])] = parts[i]
		}
		for s, x := range last {
			sum := sums[s]
			x.Messages, x.Eligible, x.Read = x.Messages+sum.Messages, x.Eligible+sum.Eligible, x.Read+sum.Read
			sums[s] = x
		}
	}
	for s, x := range sums {
		if due := dueTime(&x); begun(due) && !dropped(due) && isAlert(&x) {
			told[s] = x
		}
	}
	var list []projections.Alert
	for _, x := range told {
		list = append(list, x)
	}
	slices.SortFunc(list, projections.CompareAlerts)
	return list
}
