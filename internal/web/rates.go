package web

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// Notes of an answer that is not quite what was asked for.
const (
	noteSubstitute = "ClickHouse does not answer: these are the numbers that the server itself keeps."
	noteHours      = "Whole hours of UTC are counted: in this time zone, what begins at midnight begins within the hour before."
)

// rateAsker asks for read rates for a view, and gathers what is to be said about the answers.
type rateAsker struct {
	page  *Page
	ctx   context.Context
	notes []string
}

func (p *Page) ask(rq *request) *rateAsker { return &rateAsker{page: p, ctx: rq.Context()} }

func (a *rateAsker) note(text string) {
	for _, n := range a.notes {
		if n == text {
			return
		}
	}
	a.notes = append(a.notes, text)
}

func (a *rateAsker) rates(q projections.RateQuery) (gateway.Rates, error) {
	rates, err := a.page.cfg.Rates.Rates(a.ctx, q)
	if err != nil {
		return rates, fmt.Errorf("read rates: %w", err)
	}
	if rates.Substitute {
		a.note(noteSubstitute)
	}
	if q.BeyondRollup() == nil && (q.From%projections.HourMillis != 0 || q.To%projections.HourMillis != 0) {
		a.note(noteHours)
	}
	return rates, nil
}

// inTime asks for rows in the steps of a span. hourly says that they are by hours of UTC, since
// there was nobody to ask for days of the zone.
func (a *rateAsker) inTime(q projections.RateQuery, s *span) (rows []projections.RateRow, hourly bool, err error) {
	q.By, hourly = s.by(), s.by() == projections.ByHour
	rates, err := a.rates(q)
	_, beyond := errors.AsType[*projections.BeyondRollupError](err)
	if !hourly && (beyond || errors.Is(err, projections.ErrRatesUnavailable) && q.BeyondRollup() != nil) {
		q.By, hourly = projections.ByHour, true
		rates, err = a.rates(q)
	}
	return rates.Rows, hourly, err
}

// maxRows has room for the hours of the longest span in them.
const maxRows = 24*366*10 + 24

// steps are the sums of rows in time.
type steps struct {
	begin []time.Time // of the steps as they are counted
	named []time.Time // and as they are called
	sums  []totals
	total totals
}

// stepsOf puts rows by time into the steps of a span, and all of them into a total.
func stepsOf(s *span, rows []projections.RateRow, hourly bool) (x steps, err error) {
	x.begin, x.named = s.starts(hourly), s.starts(false)
	x.sums = make([]totals, len(x.begin))
	for i := range rows {
		at, err := time.Parse(time.RFC3339, rows[i].Key)
		if err != nil {
			return x, fmt.Errorf("rows by time: %w", err)
		}
		x.sums[within(x.begin, at)].add(&rows[i])
		x.total.add(&rows[i])
	}
	return x, nil
}
