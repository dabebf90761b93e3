package projections

import (
	"errors"
	"fmt"
	"time"
)

// HourMillis is the width of a cohort: the messages of one UTC hour.
const HourMillis = 60 * 60 * 1000

// RateBy says what the rows of a read-rate answer stand for.
type RateBy uint8

// What rows can be made by.
const (
	ByHour     RateBy = iota // of sending
	ByGroup                  // single chats are in no row
	BySender                 // in groups and single chats
	ByDay                    // of sending, in the zone of the query
	ByWeek                   // of sending, from Monday on, in that zone
	ByWeekHour               // day of the week and hour of sending, in that zone
	ByApp                    // one row
	ByLabel                  // messages without one are in no row
	ByMessage                // by id, in whatever conversations
	ByReader                 // who could read it
)

// InTime reports whether rows stand for times.
func (b RateBy) InTime() bool {
	return b == ByHour || b.zoned()
}

// zoned reports whether rows stand for times that depend on the zone.
func (b RateBy) zoned() bool { return b == ByDay || b == ByWeek || b == ByWeekHour }

// RateQuery asks how many of the messages sent in a span of time were read, and how soon. What
// counts is in docs/rules.md, "Rollups".
type RateQuery struct {
	// App is the key of the app. Empty is all apps: their rows stand for apps or for times, since
	// what a group, a sender or a label is called means something in its app only.
	App string
	// From and To bound the time of sending in Unix milliseconds, To not included. The rollup
	// widens both to whole UTC hours: see Hours.
	From, To int64
	By       RateBy
	// Zone is whose days, weeks and hours of the day rows stand for; nil is UTC.
	Zone *time.Location
	// Group, Sender and Label keep only the messages of that group, of that sender or with that
	// label; empty keeps all. Messages keeps only those with one of the ids; nil keeps all.
	Group, Sender, Label string
	Messages             []string
	// Keys keeps only the rows with one of the keys; nil keeps all.
	Keys []string
	// MinMessages leaves out rows of fewer messages.
	MinMessages uint64
	// Sort is the order of the rows, Reverse turns it round.
	Sort    RateSort
	Reverse bool
	// Offset is how many rows come before those wanted, Limit the most of these, at least 1.
	Offset, Limit int
	// Bins makes the rows carry their distributions.
	Bins bool
}

// Hours are the first and the last hour of the query, as Unix milliseconds divided by HourMillis;
// there is none if the last is smaller.
func (q *RateQuery) Hours() (first, last int64) {
	if q.To <= q.From {
		return 0, -1
	}
	return floorHour(q.From), floorHour(q.To - 1)
}

// RowAt is the key of the row of what was sent in the hour, or quarter of an hour, that begins at a
// time, if rows stand for times.
func (q *RateQuery) RowAt(ms int64) string {
	t := time.UnixMilli(ms).UTC()
	if q.Zone != nil {
		t = t.In(q.Zone)
	}
	midnight := func(days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()-days, 0, 0, 0, 0, t.Location())
	}
	sinceMonday := (int(t.Weekday()) + 6) % 7
	switch q.By {
	case ByHour: // of UTC, which may begin within one of the zone
		t = t.Truncate(time.Hour)
	case ByDay:
		t = midnight(0)
	case ByWeek:
		t = midnight(sinceMonday)
	case ByWeekHour:
		return fmt.Sprintf("%d-%02d", sinceMonday+1, t.Hour())
	}
	return t.Format(time.RFC3339)
}

// BeyondRollupError is returned for a question that the rollup cannot answer, since it has only
// cohorts of whole UTC hours.
type BeyondRollupError struct {
	// What was asked for: one of the constants below.
	What string
}

func (e *BeyondRollupError) Error() string {
	return "projections: " + e.What + ": the rollup does not have that"
}

// What of a query the rollup may not have.
const (
	beyondByMessage = "rows by message"
	beyondByReader  = "rows by reader"
	BeyondMessages  = "sets of messages"
	BeyondZone      = "days of a zone that is not whole hours from UTC"
)

// BeyondRollup returns what of the query only single messages and reads answer; nil if the rollup
// does.
func (q *RateQuery) BeyondRollup() *BeyondRollupError {
	switch {
	case q.By == ByMessage:
		return &BeyondRollupError{beyondByMessage}
	case q.By == ByReader:
		return &BeyondRollupError{beyondByReader}
	case q.Messages != nil:
		return &BeyondRollupError{BeyondMessages}
	case q.By.zoned() && q.Zone != nil && !wholeHours(q.Zone, q.From, q.To):
		return &BeyondRollupError{BeyondZone}
	}
	return nil
}

// maxZoneChanges are looked at: more than a zone has had, and will have in a century.
const maxZoneChanges = 400

// wholeHours reports whether a zone is whole hours from UTC throughout a span.
func wholeHours(zone *time.Location, from, to int64) bool {
	t := time.UnixMilli(max(from, 0)).In(zone)
	for range maxZoneChanges {
		if _, offset := t.Zone(); offset%3600 != 0 {
			return false
		}
		_, end := t.ZoneBounds()
		if end.IsZero() || end.UnixMilli() >= to {
			break
		}
		t = end
	}
	return true
}

// floorHour is the hour of a time, which may be before 1970.
func floorHour(ms int64) int64 {
	h := ms / HourMillis
	if ms%HourMillis < 0 {
		h--
	}
	return h
}

// dayOf is the first hour of the UTC day of an hour.
func dayOf(hour int64) int64 { return hour - (hour%24+24)%24 }

// RateRow is one row of the answer: numbers of tracked messages that were not recalled.
type RateRow struct {
	// Key is the beginning of the hour, day or week as RFC 3339, the day of the week (1 is Monday)
	// and the hour as in 1-09, or an id, a label or an app.
	Key string
	CohortCounts
	// Percentiles of the time from sending to reading in milliseconds, accurate to 1 % or half a
	// millisecond; meaningless if Read is 0, and 0 if no time of these reads is kept.
	P50, P90, P99 float64
	// R50 and R90 are within how many milliseconds half and nine tenths of all eligible readers had
	// read, as accurate; NotYet while fewer have.
	R50, R90 float64
	// Bins are the times behind the percentiles, ascending, without empty bins, if the query asked
	// for them. Their counts add up to Read, but for the reads whose times are not kept.
	Bins []BinCount
}

// NotYet stands for the time within which a part of the eligible readers have read, while fewer
// have.
const NotYet = -1

// SetTimes sets what the row tells of the times to read, which are as many as its reads.
func (r *RateRow) SetTimes(d *Distribution) {
	r.P50, r.P90, r.P99 = d.Percentiles()
	r.R50, r.R90 = d.Reached(r.Eligible, 5), d.Reached(r.Eligible, 9)
}

// ErrTooManyCohorts is returned for a query that would look at more cohorts than a query may, or
// find more groups or senders than it can rank.
var ErrTooManyCohorts = errors.New("projections: the span of time holds too many cohorts")

// ErrRatesUnavailable is returned for a query that the store of the cohorts cannot answer now.
var ErrRatesUnavailable = errors.New("projections: read rates are not available now")

// maxRateCohorts bounds the work of a read-rate query.
const maxRateCohorts = 5_000_000
