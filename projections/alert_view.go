package projections

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// PartAlerts are what one partition has decided about the alerts of an app.
type PartAlerts struct {
	// Upto is the hour that the fold's clock is in, as Unix milliseconds divided by HourMillis:
	// what is due until its beginning is decided.
	Upto int64
	// Groups are alerts; Parts are what the partition has of messages of senders and labels. Both
	// are in the order in which they were decided.
	Groups, Parts []Alert
	// PartsFrom is from which due hour on all Parts are kept.
	PartsFrom int64
}

// Alerts returns what the partition has decided about the alerts of an app.
func (p *Partition) Alerts(appKey string) PartAlerts {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := PartAlerts{Upto: floorHour(p.position.clock.now), PartsFrom: math.MinInt64}
	a := p.apps.byKey[appKey]
	if a == nil {
		return v
	}
	for x := range a.alerts.newest(p.rules.limits.Alerts) {
		v.Groups = append(v.Groups, *x)
	}
	for x := range a.parts.newest(p.rules.limits.AlertParts) {
		v.Parts = append(v.Parts, *x)
	}
	slices.Reverse(v.Groups)
	slices.Reverse(v.Parts)
	if a.parts.next > uint64(len(v.Parts)) {
		// Some have made room, maybe of what was due with the oldest that is kept.
		v.PartsFrom = v.Parts[0].Due() + 1
	}
	return v
}

// JoinAlerts makes the alerts of an app of what its partitions have decided, in the order in which
// they were due, those of one time by the names of their rules and their keys. Each is there once.
// Upto is the hour until whose beginning all is decided, everywhere.
func JoinAlerts(parts []PartAlerts) (list []Alert, upto int64) {
	upto, from := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range parts {
		upto, from = min(upto, parts[i].Upto), max(from, parts[i].PartsFrom)
	}
	found := map[AlertName]Alert{}
	sums := map[AlertName]*Alert{}
	for i := range parts {
		for _, x := range parts[i].Groups {
			found[x.Name()] = x // the later decision counts, if the clock was wrong at the first
		}
		own := map[AlertName]*Alert{}
		for j := range parts[i].Parts {
			own[parts[i].Parts[j].Name()] = &parts[i].Parts[j]
		}
		for name, x := range own {
			if sums[name] == nil {
				sums[name] = &Alert{Rule: x.Rule, Key: x.Key, Hour: x.Hour}
			}
			sums[name].add(x)
		}
	}
	for name, x := range sums {
		if due := x.Due(); due >= from && due <= upto && x.fires() {
			found[name] = *x
		}
	}
	for _, x := range found {
		list = append(list, x)
	}
	slices.SortFunc(list, CompareAlerts)
	return list, upto
}

// CompareAlerts orders alerts as JoinAlerts does.
func CompareAlerts(x, y Alert) int {
	return cmp.Or(cmp.Compare(x.Due(), y.Due()), strings.Compare(x.Rule.Name, y.Rule.Name), strings.Compare(x.Key, y.Key),
		cmp.Compare(x.Hour, y.Hour), compareRules(&x.Rule, &y.Rule))
}

// compareRules orders rules of one name, of which settings had one after the other.
func compareRules(x, y *events.AlertRule) int {
	return cmp.Or(cmp.Compare(x.By, y.By), strings.Compare(x.ID, y.ID), cmp.Compare(x.After, y.After),
		cmp.Compare(x.ReadBelow, y.ReadBelow), cmp.Compare(x.MedianAbove, y.MedianAbove), cmp.Compare(x.MinRecipients, y.MinRecipients))
}
