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
	// Tiles are the numbers over all.
	Tiles   []tile
	Figures []figure
	// Alerts became due in the span, and MoreAlerts besides them.
	Alerts     []alertView
	MoreAlerts int
}

// tile is a number with its name, and what it was in the span before if that is compared.
type tile struct{ Name, Value, Before string }

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
	v.Tiles = x.total.tiles(x.total.deliveries())
	if rq.Compare {
		before, err := ask.before(rq)
		if err != nil {
			return nil, err
		}
		v.Tiles = compared(&x.total, before)
	}
	v.Notes = ask.notes
	if !v.Empty {
		v.Figures, err = overviewFigures(s, &x)
	}
	return v, err
}

// compared are the totals of a span beside those of the span before. What one of them has both
// have: a tile without its number before would seem to be new.
func compared(now, before *totals) []tile {
	delivered := now.deliveries() || before.deliveries()
	tiles, earlier := now.tiles(delivered), before.tiles(delivered)
	for i := range tiles {
		tiles[i].Before = earlier[i].Value
	}
	return tiles
}

// before are the totals of the span before.
func (a *rateAsker) before(rq *request) (*totals, error) {
	q := rq.filter.query(rq.key, projections.ByApp, 1)
	q.From, q.To = rq.Span.before()
	q.Bins = true
	rates, err := a.rates(q)
	if err != nil {
		return nil, err
	}
	t := &totals{}
	for i := range rates.Rows {
		t.add(&rates.Rows[i])
	}
	return t, nil
}

// deliveries reports whether delivered says something that read does not: groups have no delivery
// receipts.
func (c *totals) deliveries() bool { return c.Delivered > c.Read }

// tiles are the totals for people.
func (c *totals) tiles(delivered bool) []tile {
	list := []tile{{Name: "Messages", Value: count(c.Messages)}, {Name: "Recipients", Value: count(c.Eligible)}}
	share, reached, halfOfAll, median, p99 := "–", "–", "–", "–", "–"
	if c.Eligible > 0 {
		share, reached = percent(c.Rate()), percent(ratio(c.Delivered, c.Eligible))
	}
	if delivered {
		list = append(list, tile{Name: "Delivered", Value: reached})
	}
	if times, read := c.percentiles(); read {
		median, p99 = millis(times[0]), millis(times[2])
		halfOfAll, _ = c.reached(5)
	}
	return append(list, tile{Name: "Read", Value: share}, tile{Name: "Half of recipients within", Value: halfOfAll},
		tile{Name: "Half of readers within", Value: median}, tile{Name: "99 of 100 readers within", Value: p99})
}

// overviewTable is what the overview counts, by time.
func (p *Page) overviewTable(rq *request) (gateway.Table, error) {
	rows, _, err := p.ask(rq).inTime(rq.filter.query(rq.key, rq.Span.by(), maxRows), &rq.Span)
	return gateway.RateTable(gateway.RateLines(rows), false), err
}
