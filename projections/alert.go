package projections

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// Alerts are decided from the rollup, when the fold's clock comes to a new hour: docs/rules.md,
// "Alerts". An app without rules has none, and costs nothing.

// Alert is what one rule found about one hour of messages that are judged together.
type Alert struct {
	// Rule is the one that was in force when the hour was due.
	Rule events.AlertRule
	// Key is the group, the sender or the label.
	Key string
	// Hour is that in which the messages were sent, as Unix milliseconds divided by HourMillis.
	Hour int64
	// Messages were not recalled. Of the Eligible recipients, Read have read: within the time that
	// the rule gives them, if it does.
	Messages, Eligible, Read uint64
}

// Due is the hour that begins when the alert is decided, as Unix milliseconds divided by
// HourMillis: all messages are as old then as the rule says.
func (x *Alert) Due() int64 { return dueAt(&x.Rule, x.Hour) }

// fires reports whether the numbers are an alert.
func (x *Alert) fires() bool {
	return x.Eligible > 0 && x.Eligible >= uint64(x.Rule.MinRecipients) && x.Read*100 < x.Rule.Percent()*x.Eligible
}

func (x *Alert) add(y *Alert) {
	x.Messages += y.Messages
	x.Eligible += y.Eligible
	x.Read += y.Read
}

// AlertName is what an alert is about. There is one alert of a name.
type AlertName struct {
	rule events.AlertRule
	key  string
	hour int64
}

// Name is what the alert is about.
func (x *Alert) Name() AlertName { return AlertName{x.Rule, x.Key, x.Hour} }

func hoursAfter(r *events.AlertRule) int64 { return r.After.Milliseconds() / HourMillis }

func dueAt(r *events.AlertRule, hour int64) int64 { return hour + 1 + hoursAfter(r) }

// decideAlerts decides what has become due since the clock was at a time, for all apps.
func (p *Partition) decideAlerts(before int64) error {
	was, is := floorHour(before), floorHour(p.position.clock.now)
	if is <= was {
		return nil
	}
	changed := p.changedCohorts()
	// What is found is held hour by hour, so that a long silence takes no more memory than one
	// hour; and in no more steps than this, however long it was.
	step := 1 + (is-was)/1024
	for _, a := range p.apps.byNum {
		if len(a.settings.Alerts) == 0 {
			continue
		}
		for at := was; at < is; at += step {
			if err := p.decideDue(a, at, min(at+step, is), changed); err != nil {
				return err
			}
		}
	}
	return nil
}

// decideDue decides what of an app is due after the beginning of one hour, up to that of another.
func (p *Partition) decideDue(a *app, was, is int64, changed changedCohorts) error {
	rules := a.settings.Alerts
	found := map[AlertName]*Alert{}
	for i := range rules {
		// Rules that wait for as long look at the same cohorts: once.
		waits := func(r events.AlertRule) bool { return r.After == rules[i].After }
		if slices.IndexFunc(rules, waits) < i {
			continue
		}
		j := alertJudge{app: a, after: rules[i].After, found: found}
		after := hoursAfter(&rules[i])
		if err := p.eachCohort(a, was-after, is-after-1, changed, j.visit); err != nil {
			return err
		}
	}
	p.keepAlerts(a, found)
	return nil
}

// appHour is an hour of an app.
type appHour struct {
	app  uint32
	hour int64
}

// changedCohorts are those that the backing does not have, or not as they are now.
type changedCohorts map[appHour]map[cohortKey]*cohort

// changedCohorts are the cohorts that changed, of apps that have rules.
func (p *Partition) changedCohorts() changedCohorts {
	changed := changedCohorts{}
	for _, list := range [][]*cohort{p.changes.cohorts, p.changes.capturedCohorts} {
		for _, x := range list {
			if x.kind != OneCohort || len(p.apps.byNum[x.app].settings.Alerts) == 0 {
				continue
			}
			of := appHour{x.app, x.hour}
			if changed[of] == nil {
				changed[of] = map[cohortKey]*cohort{}
			}
			changed[of][x.cohortKey] = x
		}
	}
	return changed
}

// eachCohort calls visit with the app's cohorts of some hours, as they are stored or, if they have
// changed since, would be.
func (p *Partition) eachCohort(a *app, first, last int64, changed changedCohorts, visit func(*cohortKey, *storedCohort) error) error {
	var buf []byte
	for hour := first; hour <= last; hour++ {
		for k, x := range changed[appHour{a.num, hour}] {
			buf = x.encode(buf[:0])
			s, err := readCohort(buf, OneCohort)
			if err == nil {
				err = visit(&k, &s)
			}
			if err != nil {
				return err
			}
		}
	}
	from := hourKey(nil, tableCohort, a.num, first)
	end := hourKey(nil, tableCohort, a.num, last+1)
	return p.back.Range(from, end, func(key, value []byte) error {
		k, err := parseCohortKey(a.num, OneCohort, key[len(from)-8:])
		if err != nil || changed[appHour{a.num, k.hour}][k] != nil {
			return err
		}
		s, err := readCohort(value, OneCohort)
		if err != nil {
			return err
		}
		return visit(&k, &s)
	})
}

// alertJudge adds up cohorts for the rules of an app that wait for as long.
type alertJudge struct {
	app   *app
	after events.Duration
	found map[AlertName]*Alert
}

func (j *alertJudge) visit(k *cohortKey, s *storedCohort) error {
	for i := range j.app.settings.Alerts {
		r := &j.app.settings.Alerts[i]
		if r.After != j.after {
			continue
		}
		var key string
		switch r.By {
		case events.AlertByGroup:
			key = string(s.group)
		case events.AlertBySender:
			key = string(s.user)
		case events.AlertByLabel:
			key = j.app.labels.name(k.label)
		}
		if key == "" || r.ID != "" && r.ID != key {
			continue
		}
		part := Alert{Rule: *r, Key: key, Hour: k.hour, Messages: s.messages, Eligible: s.eligible, Read: s.reads}
		if r.MedianAbove > 0 {
			late, err := s.later(TimeBin(r.MedianAbove.Milliseconds()))
			if err != nil {
				return err
			}
			part.Read -= late
		}
		x := j.found[part.Name()]
		if x == nil {
			x = &Alert{Rule: part.Rule, Key: part.Key, Hour: part.Hour}
			j.found[part.Name()] = x
		}
		x.add(&part)
	}
	return nil
}

// later is how many of the reads took longer than the times of a bin.
func (s *storedCohort) later(than uint16) (n uint64, err error) {
	err = s.eachBin(func(bin uint16, count uint64) {
		if bin > than {
			n += count
		}
	})
	return n, err
}

// keepAlerts keeps what is an alert, of groups; and of senders and labels everything, to be added
// up with that of other partitions. What has the most recipients is kept last, so that it stays if
// there is no room for all.
func (p *Partition) keepAlerts(a *app, found map[AlertName]*Alert) {
	list := make([]*Alert, 0, len(found))
	for _, x := range found {
		if x.Rule.By != events.AlertByGroup && x.Eligible > 0 || x.fires() {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(x, y *Alert) int {
		return cmp.Or(cmp.Compare(x.Due(), y.Due()), cmp.Compare(x.Eligible, y.Eligible),
			strings.Compare(x.Rule.Name, y.Rule.Name), strings.Compare(x.Key, y.Key))
	})
	for _, x := range list {
		if x.Rule.By == events.AlertByGroup {
			a.alerts.add(*x, p.rules.limits.Alerts)
		} else {
			a.parts.add(*x, p.rules.limits.AlertParts)
		}
	}
}

// The two lists of an app, by the number that is part of the key.
const (
	alertsOfGroups byte = iota
	alertParts
)

// saveAlerts writes what changed since the last capture.
func (p *Partition) saveAlerts(a *app) {
	put := func(kind byte) func(slot int, n uint64, x *Alert) {
		return func(slot int, n uint64, x *Alert) {
			p.changes.put(alertKey(p.scratch.key(), a.num, kind, slot), x.encode(nil, n))
		}
	}
	a.alerts.save(p.rules.limits.Alerts, put(alertsOfGroups))
	a.parts.save(p.rules.limits.AlertParts, put(alertParts))
}

func (x *Alert) encode(dst []byte, n uint64) []byte {
	dst = binary.AppendUvarint(dst, n)
	dst = appendInt(dst, x.Hour)
	for _, n := range [...]uint64{x.Messages, x.Eligible, x.Read} {
		dst = binary.AppendUvarint(dst, n)
	}
	return events.AppendAlertRule(appendString(dst, x.Key), &x.Rule)
}

func (p *Partition) loadAlerts(a *app) error {
	prefix := binary.AppendUvarint([]byte{tableAlert}, uint64(a.num))
	return p.back.Scan(prefix, func(key, value []byte) error {
		key = key[len(prefix):]
		if len(key) != 5 || key[0] > alertParts {
			return errCorrupt
		}
		r := reader{b: value}
		n := r.uvarint()
		x := Alert{Hour: r.varint(), Messages: r.uvarint(), Eligible: r.uvarint(), Read: r.uvarint(), Key: r.string()}
		rule, err := events.ReadAlertRule(r.b)
		if r.bad || err != nil {
			return errCorrupt
		}
		x.Rule = rule
		list := &a.alerts
		if key[0] == alertParts {
			list = &a.parts
		}
		return list.load(int(binary.BigEndian.Uint32(key[1:])), n, x)
	})
}
