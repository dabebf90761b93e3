package web

import (
	"time"

	"github.com/receiptd/receiptd/projections"
)

// span is a span of time up to now, in steps that it is drawn in.
type span struct {
	// Name is how it stands in the address, Label what people read.
	Name, Label string
	steps       int
	stepHours   int64
	format      string // of a step's start
	// labelHours is how many hours lie between two labels, labelNarrow that in a narrow drawing.
	labelHours, labelNarrow int64
}

// spans have steps of whole hours, as the rollups do; a day is one of UTC.
var spans = []span{
	{Name: "24h", Label: "24 hours", steps: 24, stepHours: 1, format: "15:04", labelHours: 3, labelNarrow: 6},
	{Name: "7d", Label: "7 days", steps: 28, stepHours: 6, format: "Jan 2", labelHours: 24, labelNarrow: 48},
	{Name: "30d", Label: "30 days", steps: 30, stepHours: 24, format: "Jan 2", labelHours: 5 * 24, labelNarrow: 10 * 24},
}

// spanOf finds a span by its name; the first if there is none.
func spanOf(name string) span {
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	return spans[0]
}

// bounds are the first hour and the one after the last, in hours since 1970.
func (s *span) bounds(now time.Time) (from, to int64) {
	to = (now.Unix()/3600/s.stepHours + 1) * s.stepHours
	return to - int64(s.steps)*s.stepHours, to
}

// by is the grouping of rows that add up to steps.
func (s *span) by() projections.RateBy {
	if s.stepHours%24 == 0 {
		return projections.ByDay
	}
	return projections.ByHour
}

// query asks for the span's rows.
func (s *span) query(now time.Time, app string, by projections.RateBy, limit int) projections.RateQuery {
	from, to := s.bounds(now)
	return projections.RateQuery{
		App: app, By: by, Limit: limit,
		From: from * projections.HourMillis, To: to * projections.HourMillis,
	}
}

// starts are the beginnings of the steps.
func (s *span) starts(now time.Time) []time.Time {
	from, _ := s.bounds(now)
	list := make([]time.Time, s.steps)
	for i := range list {
		list[i] = time.Unix((from+int64(i)*s.stepHours)*3600, 0).UTC()
	}
	return list
}
