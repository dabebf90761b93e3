package clickhouse

import (
	"context"
	"fmt"
	"testing"

	"github.com/receiptd/receiptd/projections"
)

// TestLatestVersionCounts stores cohorts more than once and in any order, with names that have to
// be quoted.
func TestLatestVersionCounts(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	const group, sender = `it's \ a "group" {x:String} ?`, "@sender $1"
	cohort := func(hour int64, group, sender string, reads uint64, version uint64) CohortRow {
		return CohortRow{Version: version, Cohort: projections.Cohort{
			App: testApp, Hour: hour, Group: group, Sender: sender,
			CohortCounts: projections.CohortCounts{Messages: 1, Eligible: 4, Delivered: reads, Read: reads, Recalled: 1},
			Bins:         []projections.BinCount{{Bin: projections.TimeBin(1000), Count: reads}},
		}}
	}
	total := func(hour int64, reads uint64) CohortRow {
		c := cohort(hour, "", "", reads, 7)
		c.Kind = projections.HourTotal
		return c
	}
	insert := func(partition int, rows ...CohortRow) { must(t, s.InsertCohorts(ctx, partition, rows)) }
	insert(0, cohort(10, group, sender, 2, 7), cohort(11, "g", sender, 1, 7), cohort(12, "", sender, 1, 3), cohort(900, "g", "b", 1, 1))
	insert(0, cohort(10, group, sender, 3, 9), total(10, 3), total(11, 1))
	insert(0, cohort(10, group, sender, 1, 5)) // late, and too old
	insert(1, total(11, 2))
	elsewhere := total(11, 5)
	elsewhere.App = "acme#elsewhere"
	insert(1, elsewhere)
	const hour = projections.HourMillis
	all := projections.RateQuery{App: testApp, From: 0, To: 1000 * hour, Limit: 10}
	with := func(change func(q *projections.RateQuery)) projections.RateQuery {
		q := all
		change(&q)
		return q
	}
	for _, test := range []struct {
		q    projections.RateQuery
		want string // key, messages and reads of each row
	}{
		{all, "1970-01-01T10:00:00Z 1 3, 1970-01-01T11:00:00Z 2 3, "},
		{with(func(q *projections.RateQuery) { q.By = projections.ByGroup }), "g 2 2, " + group + " 1 3, "},
		{with(func(q *projections.RateQuery) { q.By, q.Limit = projections.ByGroup, 1 }), "g 2 2, "},
		{with(func(q *projections.RateQuery) { q.By = projections.BySender }), sender + " 3 5, b 1 1, "},
		{with(func(q *projections.RateQuery) { q.Group = group }), "1970-01-01T10:00:00Z 1 3, "},
		{with(func(q *projections.RateQuery) { q.Sender, q.By = sender, projections.ByGroup }), "g 1 1, " + group + " 1 3, "},
		{with(func(q *projections.RateQuery) { q.From, q.To = 11*hour-1, 11*hour; q.By = projections.BySender }), sender + " 1 3, "},
		{with(func(q *projections.RateQuery) { q.From, q.To = 13*hour, 13*hour }), ""},
		{with(func(q *projections.RateQuery) { q.App = "acme#other" }), ""},
		{with(func(q *projections.RateQuery) { q.App = "" }), "1970-01-01T10:00:00Z 1 3, 1970-01-01T11:00:00Z 3 8, "},
		{with(func(q *projections.RateQuery) { q.App, q.By = "", projections.ByApp }), testApp + " 3 6, acme#elsewhere 1 5, "},
		{with(func(q *projections.RateQuery) { q.App, q.By, q.Offset = "", projections.ByApp, 1 }), "acme#elsewhere 1 5, "},
	} {
		page, err := s.ReadRates(ctx, test.q)
		must(t, err)
		got := ""
		for _, r := range page.Rows {
			got += fmt.Sprintf("%s %d %d, ", r.Key, r.Messages, r.Read)
			if r.P50 < 990 || r.P99 > 1010 {
				t.Errorf("%+v: percentiles of %+v", test.q, r)
			}
		}
		if got != test.want {
			t.Errorf("%+v:\n got  %s\n want %s", test.q, got, test.want)
		}
	}
}
