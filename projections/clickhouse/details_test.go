package clickhouse

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// TestDetailsAreWhatTheModelSays: questions that cohorts do not answer, in every way; and the views
// behind them.
func TestDetailsAreWhatTheModelSays(t *testing.T) {
	f := newFortnight(t)
	got := f.rows("SELECT `group`, message, sender, label, recipient, took_ms FROM recipients WHERE app = '" + testApp + "'")
	var want []string
	read := 0
	for _, r := range f.recipients() {
		took := "<nil>"
		if r.took >= 0 {
			took = fmt.Sprint(r.took)
			read++
		}
		want = append(want, strings.Join([]string{r.Group, r.ID, r.From, r.Label, r.user, took}, " "))
	}
	sameSet(t, "recipients", got, want)
	if read < 200 || read > len(want)-200 {
		t.Errorf("%d of %d have read: too few, or too many", read, len(want))
	}
	want = nil
	for _, r := range f.recipients() {
		if r.took >= 0 {
			at := time.UnixMilli(r.SentAt + r.took).UTC().Format("2006-01-02 15:04:05.000")
			want = append(want, strings.Join([]string{r.ID, r.user, at, fmt.Sprint(r.took)}, " "))
		}
	}
	sums := map[string]*[2]int{}
	for _, r := range f.recipients() {
		key := strings.Join([]string{r.Group, r.From, r.Label, time.UnixMilli(r.SentAt).UTC().Format("2006-01-02 15:04:05.000"), r.user}, " ")
		if sums[key] == nil {
			sums[key] = &[2]int{}
		}
		if sums[key][0]++; r.took >= 0 {
			sums[key][1]++
		}
	}
	var readers []string
	for key, n := range sums {
		readers = append(readers, fmt.Sprint(key, " ", n[0], " ", n[1]))
	}
	sameSet(t, "readers", f.rows("SELECT `group`, sender, label, sent_at, reader, sum(messages), sum(read) FROM readers WHERE app = '"+testApp+"' GROUP BY ALL"), readers)
	sameSet(t, "reads", f.rows("SELECT message, reader, read_at, took_ms FROM reads"), want)
	if got := f.rows("SELECT countIf(imported) > 700, countIf(NOT imported) > 1000, countIf(at != happened_at) = countIf(imported) FROM events"); got[0] != "1 1 1" {
		t.Errorf("imported rows: %s", got)
	}
	for _, group := range []string{"team", "club", "everybody", "alone", "gone"} {
		want = nil
		for _, m := range f.model.Members(testApp, group) {
			want = append(want, m.User+" "+m.Role.String())
		}
		sameSet(t, "members of "+group, f.rows("SELECT user, role FROM members WHERE left_at IS NULL AND `group` = '"+group+"'"), want)
	}
	rows := 0
	for by := projections.ByHour; by <= projections.ByReader; by++ {
		for _, zone := range []*time.Location{nil, zoneOf("Asia/Kolkata"), zoneOf("Europe/Zurich")} {
			for range 4 {
				rows += f.compare(by, zone)
			}
		}
	}
	if rows < 500 {
		t.Errorf("%d rows were compared", rows)
	}
}

// compare asks ClickHouse and the model the same, and returns how many rows it saw.
func (f *fortnight) compare(by projections.RateBy, zone *time.Location) int {
	f.t.Helper()
	q := projections.RateQuery{App: testApp, From: math.MinInt64, To: math.MaxInt64, By: by, Zone: zone, Limit: 1 + f.random.IntN(40), Bins: true}
	if f.random.IntN(8) == 0 {
		q.Limit = 100_000
	}
	q.Sort, q.Reverse = projections.RateSort(f.random.IntN(int(projections.SortP50))), f.random.IntN(3) == 0
	q.MinMessages, q.Offset = uint64(f.random.IntN(3)), f.random.IntN(3)
	if f.random.IntN(2) == 0 {
		q.From = fortnightBegins.UnixMilli() + f.random.Int64N(5*24*projections.HourMillis)
		q.To = q.From + f.random.Int64N(10*24*projections.HourMillis)
	}
	switch f.random.IntN(5) {
	case 0:
		q.Group = "club"
	case 1:
		q.Sender = f.user()
	case 2:
		q.Label = "spring"
	case 3:
		for range 40 {
			q.Messages = append(q.Messages, f.sent[f.random.IntN(len(f.sent))].Message)
		}
	}
	if f.random.IntN(4) == 0 { // some of the rows, and a key of none
		all := q
		all.Offset, all.Limit = 0, 1000
		rows, _ := f.model.Rates(all)
		q.Keys = []string{"it's nobody"}
		for _, r := range rows {
			if f.random.IntN(3) > 0 {
				q.Keys = append(q.Keys, r.Key)
			}
		}
	}
	got, err := f.store.ReadRates(context.Background(), q)
	must(f.t, err)
	want, total := f.model.Rates(q)
	if len(got.Rows) != len(want) || got.Total != total {
		f.t.Fatalf("%+v:\nClickHouse %+v\nmodel      %d rows, %+v", q, got, total, want)
	}
	for i := range got.Rows {
		if what := want[i].Differs(got.Rows[i]); what != "" {
			f.t.Fatalf("%+v, row %d: %s:\nClickHouse %+v\nmodel      %+v", q, i, what, got.Rows[i], want[i])
		}
	}
	return len(want)
}

func sameSet(t testing.TB, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d, not %d\ngot  %.3000q\nwant %.3000q", what, len(got), len(want), got, want)
	}
}

// TestTimeBinsAreThoseOfTheRollup compares the view with the table of bins that the fold has.
func TestTimeBinsAreThoseOfTheRollup(t *testing.T) {
	f := &fortnight{t: t, store: openStore(t)}
	var want []string
	for bin := range uint16(projections.NumBins) {
		first, end := projections.BinMillis(bin), int64(1)<<37
		if bin < projections.NumBins-1 {
			end = projections.BinMillis(bin + 1)
		}
		if first < end {
			want = append(want, fmt.Sprint(bin, " ", first, " ", end-1, " 1"))
		}
	}
	got := f.rows("SELECT bin, first_ms, last_ms, abs(ms - first_ms) <= 0.0101 * first_ms AND abs(ms - last_ms) <= 0.0101 * last_ms FROM time_bins ORDER BY bin")
	if len(got) != len(want) {
		t.Fatalf("%d bins, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
}
