package web

import (
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// overviewView is how an app's messages are read.
type overviewView struct {
	Empty bool
	Notes []string
	Total projections.CohortCounts
	// Facts are the numbers over all.
	Facts   []fact
	Figures []figure
	// Alerts became due in the span, and MoreAlerts besides them.
	Alerts     []alertView
	MoreAlerts int
}

// fact is a number with its name, and what it was in the span before if that is compared.
type fact struct{ Name, Value, Before string }

func (v *overviewView) nothing() bool { return v.Empty }

func (p *Page) overview(rq *request) (any, error) {
	v := &overviewView{}
	var err error
	if v.Alerts, v.MoreAlerts, err = p.alerts(rq); err != nil {
		return nil, err
	}
	ask := p.ask(rq)
	s := &rq.Span
	q := rq.filter.query(rq.key, s.by(), maxRows)
	q.Bins = true
	rows, hourly, err := ask.inTime(q, s)
	if err != nil {
		return nil, err
	}
	x, err := stepsOf(s, rows, hourly)
	if err != nil {
		return nil, err
	}
	v.Total, v.Empty = x.total.CohortCounts, x.total.Messages == 0
	var before []fact
	if rq.Compare {
		if before, err = ask.before(rq); err != nil {
			return nil, err
		}
	}
	v.Facts, v.Notes = x.total.facts(), ask.notes
	for i := range before {
		for k := range v.Facts {
			if v.Facts[k].Name == before[i].Name {
				v.Facts[k].Before = before[i].Value
			}
		}
	}
	if !v.Empty {
		v.Figures, err = overviewFigures(s, &x)
	}
	return v, err
}

// before are the numbers of the span before.
func (a *asking) before(rq *request) ([]fact, error) {
	q := rq.filter.query(rq.key, projections.ByApp, 1)
	q.From, q.To = rq.Span.before()
	q.Bins = true
	rates, err := a.rates(q)
	if err != nil {
		return nil, err
	}
	var t totals
	for i := range rates.Rows {
		t.add(&rates.Rows[i])
	}
	return t.facts(), nil
}

// facts are the totals for people. Delivered is left out if it is what was read: groups have no
// delivery receipts.
func (c *totals) facts() []fact {
	list := []fact{{Name: "Messages", Value: count(c.Messages)}, {Name: "Recipients", Value: count(c.Eligible)}}
	if c.Delivered > c.Read {
		list = append(list, fact{Name: "Delivered", Value: percent(ratio(c.Delivered, c.Eligible))})
	}
	share, halfOfAll, median, p99 := "–", "–", "–", "–"
	if c.Eligible > 0 {
		share = percent(c.Rate())
	}
	if times, read := c.percentiles(); read {
		median, p99 = millis(times[0]), millis(times[2])
		halfOfAll, _ = c.reached(5)
	}
	return append(list, fact{Name: "Read", Value: share}, fact{Name: "Half of recipients within", Value: halfOfAll},
		fact{Name: "Half of readers within", Value: median}, fact{Name: "99 of 100 readers within", Value: p99})
}

// overviewTable is what the overview counts, by time.
func (p *Page) overviewTable(rq *request) (gateway.Table, error) {
	rows, _, err := p.ask(rq).inTime(rq.filter.query(rq.key, rq.Span.by(), maxRows), &rq.Span)
	return gateway.RateTable(gateway.RateLines(rows), false), err
}
