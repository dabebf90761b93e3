package analytics

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// rates asks for read rates, of spans anywhere in the rows.
type rates struct {
	store   *ch.Store
	server  *chserver.Process
	span    int64  // hours of all rows
	rows    uint64 // in all
	senders []projections.RateRow
}

// filter is what a query is restricted to.
type filter int

const (
	noFilter filter = iota
	oneGroup
	oneSender
)

// kindOfRates is what queries have in common.
type kindOfRates struct {
	name  string
	by    projections.RateBy
	hours int64 // how long their span is
	of    filter
}

// kindsOfRates are the ones that are measured, over rows of so many hours.
func kindsOfRates(span int64) []kindOfRates {
	return []kindOfRates{
		{"hours of all days", projections.ByHour, span, noFilter}, {"hours of one day", projections.ByHour, 24, noFilter},
		{"groups of all days", projections.ByGroup, span, noFilter}, {"groups of all days but 30 hours", projections.ByGroup, span - 30, noFilter},
		{"groups of one day", projections.ByGroup, 24, noFilter},
		{"senders of all days", projections.BySender, span, noFilter}, {"senders of all days but 30 hours", projections.BySender, span - 30, noFilter},
		{"senders of one day", projections.BySender, 24, noFilter},
		{"hours of a week of one group", projections.ByHour, 7 * 24, oneGroup}, {"days of all days of one group", projections.ByDay, span, oneGroup},
		{"hours of a week of one sender", projections.ByHour, 7 * 24, oneSender}, {"days of all days of one sender", projections.ByDay, span, oneSender},
		{"weeks of all days", projections.ByWeek, span, noFilter}, {"hours of the week of all days", projections.ByWeekHour, span, noFilter},
		// What no cohort tells.
		{"messages of one day", projections.ByMessage, 24, noFilter}, {"readers of one day", projections.ByReader, 24, noFilter},
		{"readers of all days of one group", projections.ByReader, span, oneGroup},
	}
}

// measure asks n queries of each kind.
func (x *rates) measure(ctx context.Context, n int) (list []QueryTimes, err error) {
	found, err := x.store.ReadRates(ctx, projections.RateQuery{
		App: benchApp, By: projections.BySender, From: first, To: first + x.span*projections.HourMillis, Limit: 1000,
	})
	if err != nil {
		return nil, err
	}
	x.senders = found.Rows
	for _, kind := range kindsOfRates(x.span) {
		t := QueryTimes{Kind: kind.name}
		var took []float64
		for range n {
			d, read, err := x.ask(ctx, x.query(kind))
			if err != nil {
				return nil, err
			}
			took = append(took, float64(d.Microseconds())/1000)
			t.RowsRead = max(t.RowsRead, read)
		}
		slices.Sort(took)
		t.P50MS, t.P95MS = took[len(took)/2], took[len(took)*95/100]
		t.Percent = 100 * float64(t.RowsRead) / float64(x.rows)
		list = append(list, t)
	}
	return list, nil
}

// query is one of a kind, of a span, a group and a sender by chance.
func (x *rates) query(kind kindOfRates) projections.RateQuery {
	q := projections.RateQuery{App: benchApp, By: kind.by, Limit: 100}
	q.From = first + rand.Int64N(max(1, x.span-kind.hours+1))*projections.HourMillis
	q.To = q.From + kind.hours*projections.HourMillis
	switch kind.of {
	case oneGroup:
		q.Group = groups[rand.IntN(len(groups))]
	case oneSender:
		q.Sender = x.senders[rand.IntN(len(x.senders))].Key
	}
	return q
}

// ask returns how long a query took, and how many rows were read for it.
func (x *rates) ask(ctx context.Context, q projections.RateQuery) (took time.Duration, read uint64, err error) {
	before, err := x.server.RowsRead()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if _, err := x.store.ReadRates(ctx, q); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	after, err := x.server.RowsRead()
	return took, after - before, err
}
