package web

import (
	"slices"
	"sort"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// preset is a span of time up to now that people choose by its name.
type preset struct {
	// Name is how it stands in the address, Label what people read.
	Name, Label string
	step        step
	steps       int
}

var presets = []preset{
	{Name: "24h", Label: "24 hours", step: hour, steps: 24},
	{Name: "7d", Label: "7 days", step: quarterDay, steps: 28},
	{Name: "30d", Label: "30 days", step: day, steps: 30},
}

// step is a length of time that a span is drawn in.
type step uint8

const (
	hour step = iota
	quarterDay
	day
	week
)

// Spans up to these lengths are drawn in hours, quarters of a day and days, longer ones in weeks.
const (
	maxHourly      = 49 * time.Hour // two days, one of which may have 25 hours
	maxQuarterDays = 14*24*time.Hour + time.Hour
	maxDaily       = 120*24*time.Hour + time.Hour
)

// span is when the messages were sent that a view counts, in a time zone.
type span struct {
	preset
	// First and End are the dates that bound it, as they stand in the address; empty for a preset.
	First, End string
	from, to   time.Time
	zone       *time.Location
}

// beginning is the beginning of the step that a time is in.
func (s step) beginning(t time.Time) time.Time {
	h := t.Hour()
	switch s {
	case hour:
		// Of UTC, as the rollup has it.
		return t.Add(-time.Duration(t.UnixNano() % int64(time.Hour)))
	case quarterDay:
		h -= h % 6
	case day:
		h = 0
	case week:
		return time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 0, 0, 0, 0, t.Location())
	}
	return time.Date(t.Year(), t.Month(), t.Day(), h, 0, 0, 0, t.Location())
}

// after is the beginning of the step n steps later.
func (s step) after(t time.Time, n int) time.Time {
	switch s {
	case hour:
		return t.Add(time.Duration(n) * time.Hour)
	case quarterDay:
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour()+6*n, 0, 0, 0, t.Location())
	case day:
		return t.AddDate(0, 0, n)
	}
	return t.AddDate(0, 0, 7*n)
}

// upToNow is the span of a preset.
func upToNow(p preset, now time.Time, zone *time.Location) span {
	to := p.step.after(p.step.beginning(now.In(zone)), 1)
	return span{preset: p, from: p.step.after(to, -p.steps), to: to, zone: zone}
}

// between is a span from one time to another.
func between(from, to time.Time, zone *time.Location) span {
	s := span{from: from.In(zone), to: to.In(zone), zone: zone}
	switch length := to.Sub(from); {
	case length <= maxHourly:
		s.step = hour
	case length <= maxQuarterDays:
		s.step = quarterDay
	case length <= maxDaily:
		s.step = day
	default:
		s.step = week
	}
	return s
}

// Custom reports whether the span is bounded by dates.
func (s *span) Custom() bool { return s.Name == "" }

// Says is the span in words, as in "sent in …".
func (s *span) Says() string {
	if s.Custom() {
		return s.Period()
	}
	return "the last " + s.Label
}

// Period says when the span begins and ends, in its zone.
func (s *span) Period() string {
	const full, brief = "Jan 2, 2006, 15:04", "Jan 2, 15:04"
	format := brief
	if s.from.Year() != s.to.Year() {
		format = full
	}
	return s.from.Format(format) + " – " + s.to.Format(full)
}

// before is the span of the same length before.
func (s *span) before() (from, to int64) {
	from, to = s.from.UnixMilli(), s.to.UnixMilli()
	return from - (to - from), from
}

// by is the grouping of rows that add up to steps.
func (s *span) by() projections.RateBy {
	switch s.step {
	case day:
		return projections.ByDay
	case week:
		return projections.ByWeek
	}
	return projections.ByHour
}

// query asks for the span's rows.
func (s *span) query(app string, by projections.RateBy, limit int) projections.RateQuery {
	q := projections.RateQuery{App: app, By: by, Limit: limit, From: s.from.UnixMilli(), To: s.to.UnixMilli()}
	if s.zone != time.UTC {
		q.Zone = s.zone
	}
	return q
}

// starts are the beginnings of the steps. The first step may be a part of one. If rows are by hours
// of UTC, so are the steps, which begin up to an hour early in a zone that is not whole hours from
// UTC.
func (s *span) starts(hourly bool) []time.Time {
	list := []time.Time{s.from}
	first := s.step.beginning(s.from)
	for n := 1; ; n++ {
		at := s.step.after(first, n)
		if !at.Before(s.to) {
			break
		}
		if at.After(list[len(list)-1]) {
			list = append(list, at)
		}
	}
	if hourly {
		for i, at := range list {
			list[i] = hour.beginning(at)
		}
	}
	return list
}

// within is the step that a time is in; rows of the first step may begin before it.
func within(starts []time.Time, at time.Time) int {
	return max(0, sort.Search(len(starts), func(i int) bool { return starts[i].After(at) })-1)
}

// labels are the names of steps along the bottom of a drawing, and those in a table, which say when
// the steps begin that were counted.
func (s *span) labels(named, begin []time.Time) (brief, whole []string) {
	format := "Jan 2"
	if s.step == hour {
		format = "15:04"
	}
	full := "Jan 2, 15:04"
	if s.from.Year() != s.to.Year() {
		full = "Jan 2, 2006, 15:04"
	}
	for i, at := range named {
		brief, whole = append(brief, at.Format(format)), append(whole, begin[i].Format(full))
	}
	return brief, whole
}

// maxLabels is how many labels have room in a drawing.
var maxLabels = map[size]int{narrow: 4, wide: 8}

// labelled has labels at round times, and none at the very end, which would stand over the one
// before.
func (s *span) labelled(starts []time.Time, in size, i int) bool {
	if i == len(starts)-1 && i > 0 {
		return false
	}
	n, most := len(starts), maxLabels[in]
	switch s.step {
	case hour:
		every := 1
		for _, every = range []int{1, 2, 3, 6, 12, 24} {
			if n <= every*most {
				break
			}
		}
		// A zone that is not whole hours from UTC begins with a part of an hour, and a clock that
		// is set back has one twice: one label for both.
		twice := i > 0 && starts[i-1].Hour() == starts[i].Hour()
		return !twice && starts[i].Hour()%every == 0
	case quarterDay:
		if starts[i].Hour() >= 6 { // the first one, too: midnight may be next to it
			return false
		}
		i, n = i/4, n/4
	}
	return i%((n+most-1)/most) == 0
}

// presetOf finds a preset by its name; the first if there is none.
func presetOf(name string) preset {
	if i := slices.IndexFunc(presets, func(p preset) bool { return p.Name == name }); i >= 0 {
		return presets[i]
	}
	return presets[0]
}
