package web

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

const (
	// listed is the number of rows on one page of a list.
	listed = 50
	// maxLines are written into a file at most, the same as GET …/analytics/read-rate writes.
	maxLines = 100_000
)

// order is one that rows can be shown in.
type order struct {
	// Name is how it stands in the address, Label what people read.
	Name, Label string
	sort        projections.RateSort
	reverse     bool
}

var orders = []order{
	{"messages", "Most messages", projections.SortMessages, false},
	{"best", "Highest read rate", projections.SortRate, false},
	{"worst", "Lowest read rate", projections.SortRate, true},
	{"read", "Most read", projections.SortRead, false},
	{"unread", "Most not read", projections.SortNotRead, false},
	{"slow", "Slowest half", projections.SortR50, true},
}

// ranked is a kind of thing that can be ranked.
type ranked struct {
	// What one is called, and all of them as a title.
	What, Title string
	by          projections.RateBy
	// leads has the parameters that the link of one begins with, the last of which takes the id.
	leads []string
}

var rankings = map[string]ranked{
	"groups":   {"group", "Groups", projections.ByGroup, []string{"view", "overview", "group"}},
	"senders":  {"sender", "Senders", projections.BySender, []string{"view", "overview", "sender"}},
	"labels":   {"label", "Labels", projections.ByLabel, []string{"view", "overview", "label"}},
	"messages": {"message", "Messages", projections.ByMessage, []string{"view", "message", "id"}},
	"readers":  {"reader", "Readers", projections.ByReader, []string{"view", "user", "user"}},
}

// rankingView lists groups, senders, labels, messages or readers.
type rankingView struct {
	ranked
	Notes  []string
	Order  order
	Orders []order
	// Found is how many there are in all, First the place of the first one here, from 1 on, and
	// Last that of the last.
	Found, First, Last int
	// Before and After are where the pages beside this one begin, as the address has it; empty if
	// there is none.
	Before, After string
	Rows          []rankedRow
}

type rankedRow struct {
	Rank int
	ID   string
	gateway.RateNumbers
	// Volume and Share are lengths of bars, from 0 to 100.
	Volume, Share                float64
	Rate, HalfOfAll, Median, P99 string
	// RateBefore is the read rate in the span before, if that is compared.
	RateBefore string
}

// rankingQuery is what a ranking asks.
func (rq *request) rankingQuery() (projections.RateQuery, order) {
	o := orders[0]
	for _, x := range orders {
		if x.Name == rq.query.Get("order") {
			o = x
		}
	}
	q := rq.filter.query(rq.key, rankings[rq.view].by, listed)
	q.Sort, q.Reverse, q.MinMessages = o.sort, o.reverse, rq.Least
	if o.Name != orders[0].Name {
		// Those who have sent nothing that counts have no rate.
		q.MinMessages = max(q.MinMessages, 1)
	}
	return q, o
}

func (p *Page) ranking(rq *request) (any, error) {
	v := &rankingView{ranked: rankings[rq.view], Orders: orders}
	var q projections.RateQuery
	q, v.Order = rq.rankingQuery()
	q.Offset = rq.offset("at")
	ask := p.ask(rq)
	lines, total, err := ask.lines(q, rq)
	if err != nil {
		return nil, err
	}
	v.Notes = ask.notes
	v.Found, v.First, v.Last = total, q.Offset+1, q.Offset+len(lines)
	if q.Offset > 0 {
		v.Before = strconv.Itoa(max(0, q.Offset-listed))
	}
	if v.Last < total && len(lines) > 0 {
		v.After = strconv.Itoa(v.Last)
	}
	var most uint64 = 1
	for i := range lines {
		most = max(most, lines[i].Messages)
	}
	for i := range lines {
		r := &lines[i]
		row := rankedRow{
			Rank: v.First + i, ID: r.Key, RateNumbers: r.RateNumbers, Volume: 100 * ratio(r.Messages, most), Share: 100 * r.ReadRate,
			Rate: percent(r.ReadRate), HalfOfAll: within50(r.R50, r.Read), Median: known(r.P50), P99: known(r.P99),
		}
		if r.Compared != nil {
			row.RateBefore = "–"
			if r.Compared.Eligible > 0 {
				row.RateBefore = percent(r.Compared.ReadRate)
			}
		}
		v.Rows = append(v.Rows, row)
	}
	return v, nil
}

// lines are the rows of an answer, and how many there are in all; compared, if that was asked for.
func (a *rateAsker) lines(q projections.RateQuery, rq *request) ([]gateway.RateLine, int, error) {
	rates, err := a.rates(q)
	if beyond, ok := errors.AsType[*projections.BeyondRollupError](err); ok {
		return nil, 0, &problem{http.StatusUnprocessableEntity, "This takes ClickHouse", "This server has no ClickHouse, which answers questions about " + beyond.What + "."}
	}
	if err != nil {
		return nil, 0, err
	}
	lines := gateway.RateLines(rates.Rows)
	if rq.Compare && len(lines) > 0 {
		from, to := rq.Span.before()
		if _, err := gateway.Compare(a.ctx, a.page.cfg.Rates, q, from, to, lines); err != nil {
			return nil, 0, err
		}
	}
	return lines, rates.Total, nil
}

// rankingTable is all that a ranking lists.
func (p *Page) rankingTable(rq *request) (gateway.Table, error) {
	q, _ := rq.rankingQuery()
	q.Limit = maxLines
	lines, _, err := p.ask(rq).lines(q, rq)
	return gateway.RateTable(lines, rq.Compare && len(lines) > 0), err
}

// known is a time that may not be.
func known(ms *float64) string {
	if ms == nil {
		return "–"
	}
	return millis(*ms)
}

// within50 is within which time half of the recipients have read.
func within50(ms *float64, read uint64) string {
	if ms == nil && read > 0 {
		return "not yet"
	}
	return known(ms)
}

func (v *rankingView) nothing() bool { return len(v.Rows) == 0 }

// Lead is the parameters of the link of a row.
func (v *rankingView) Lead(id string) []string { return append(append([]string{}, v.leads...), id) }
