package projections

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// HourMillis is the width of a cohort: the messages of one UTC hour.
const HourMillis = 60 * 60 * 1000

// RateBy says what the rows of a read-rate answer stand for.
type RateBy uint8

// What rows can be made by.
const (
	ByHour   RateBy = iota // of sending
	ByGroup                // single chats are in no row
	BySender               // in groups and single chats
	ByDay                  // of sending, UTC
)

// InTime reports whether rows stand for times.
func (b RateBy) InTime() bool { return b == ByHour || b == ByDay }

// RateQuery asks how many of the messages sent in a span of time were read, and how soon. What
// counts is in docs/rules.md, "Rollups".
type RateQuery struct {
	// App is the key of the app.
	App string
	// From and To bound the time of sending in Unix milliseconds, To not included. Both are widened
	// to whole UTC hours: see Hours.
	From, To int64
	By       RateBy
	// Group and Sender keep only the messages of that group or of that sender; empty keeps all.
	Group, Sender string
	// Limit is the most rows wanted, at least 1.
	Limit int
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

// HourKey is the key of an hour's row: RFC 3339, in UTC.
func HourKey(hour int64) string { return time.Unix(hour*3600, 0).UTC().Format(time.RFC3339) }

// RateRow is one row of the answer: numbers of tracked messages that were not recalled.
type RateRow struct {
	// Key is the beginning of the hour or day as RFC 3339, the group id or the sender.
	Key string
	CohortCounts
	// Percentiles of the time from sending to reading in milliseconds, accurate to 1 % or half a
	// millisecond; meaningless if Read is 0.
	P50, P90, P99 float64
	// R50 and R90 are within how many milliseconds half and nine tenths of all eligible readers had
	// read, as accurate; NotYet while fewer have.
	R50, R90 float64
	// Bins are the times behind the percentiles, ascending, without empty bins, if the query asked
	// for them. Their counts add up to Read.
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

// SortRates puts rows in the order of an answer and cuts it to the query's limit: hours and days by
// time, groups and senders by the number of messages, most first, then by key.
func SortRates(q RateQuery, rows []RateRow) []RateRow {
	slices.SortFunc(rows, func(a, b RateRow) int {
		if !q.By.InTime() {
			if c := cmp.Compare(b.Messages, a.Messages); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.Key, b.Key)
	})
	return rows[:min(len(rows), q.Limit)]
}

// ErrTooManyCohorts is returned for a query that would look at more cohorts than a query may, or
// find more groups or senders than it can rank.
var ErrTooManyCohorts = errors.New("projections: the span of time holds too many cohorts")

// ErrRatesUnavailable is returned for a query that the store of the cohorts cannot answer now.
var ErrRatesUnavailable = errors.New("projections: read rates are not available now")

// maxRateCohorts bounds the work of a read-rate query.
const maxRateCohorts = 5_000_000
