package web

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/receiptd/receiptd/projections"
)

const (
	// maxRanked groups or senders are looked at: those with the most messages.
	maxRanked = 1000
	// maxShown of them are shown.
	maxShown = 50
)

// order is one that groups and senders can be shown in.
type order struct {
	// Name is how it stands in the address, Label what people read.
	Name, Label string
	compare     func(a, b *projections.RateRow) int
}

var orders = []order{
	{"messages", "Most messages", func(a, b *projections.RateRow) int { return cmp.Compare(b.Messages, a.Messages) }},
	{"best", "Highest read rate", func(a, b *projections.RateRow) int { return cmp.Compare(b.Rate(), a.Rate()) }},
	{"worst", "Lowest read rate", func(a, b *projections.RateRow) int { return cmp.Compare(a.Rate(), b.Rate()) }},
}

// rankingView lists groups or senders.
type rankingView struct {
	// What is listed: "group" or "sender", which is also the parameter that narrows the overview to
	// one.
	What   string
	Order  order
	Orders []order
	// Found is how many there are; Capped says that there may be more.
	Found  int
	Capped bool
	Rows   []rankedRow
}

type rankedRow struct {
	Rank int
	ID   string
	projections.CohortCounts
	// Volume and Share are lengths of bars, from 0 to 100.
	Volume, Share     float64
	Rate, Median, P99 string
}

func (p *Page) groups(rq *request) (any, error) { return p.ranking(rq, "group", projections.ByGroup) }
func (p *Page) senders(rq *request) (any, error) {
	return p.ranking(rq, "sender", projections.BySender)
}

func (p *Page) ranking(rq *request, what string, by projections.RateBy) (any, error) {
	v := &rankingView{What: what, Order: orders[0], Orders: orders}
	for _, o := range orders {
		if o.Name == rq.query.Get("order") {
			v.Order = o
		}
	}
	rows, err := p.cfg.Rates.ReadRates(rq.Context(), rq.span.query(p.cfg.Now(), rq.key, by, maxRanked))
	if err != nil {
		return nil, fmt.Errorf("read rates: %w", err)
	}
	v.Found, v.Capped = len(rows), len(rows) == maxRanked
	if v.Order.Name != orders[0].Name {
		// Those who have sent nothing that counts have no rate.
		rows = slices.DeleteFunc(rows, func(r projections.RateRow) bool { return r.Eligible == 0 })
	}
	slices.SortStableFunc(rows, func(a, b projections.RateRow) int { return v.Order.compare(&a, &b) })
	rows = rows[:min(len(rows), maxShown)]
	var most uint64 = 1
	for i := range rows {
		most = max(most, rows[i].Messages)
	}
	for i := range rows {
		r := &rows[i]
		row := rankedRow{
			Rank: i + 1, ID: r.Key, CohortCounts: r.CohortCounts, Volume: 100 * ratio(r.Messages, most), Share: 100 * r.Rate(),
			Rate: percent(r.Rate()), Median: "–", P99: "–",
		}
		if r.Read > 0 {
			row.Median, row.P99 = millis(r.P50), millis(r.P99)
		}
		v.Rows = append(v.Rows, row)
	}
	return v, nil
}

func (v *rankingView) nothing() bool { return len(v.Rows) == 0 }

// Plural is what is listed, as a title says it.
func (v *rankingView) Plural() string {
	if v.What == "group" {
		return "Groups"
	}
	return "Senders"
}
