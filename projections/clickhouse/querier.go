package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// ReadRates answers a query with the rows that the embedded rollup gives, in the order and with the
// limits of the query, and questions that the rollup cannot answer from messages and reads. It
// reads totals of hours where that is enough, totals of days for the whole days of the span once
// they are complete (see [Store.UseDays]), and cohorts for the rest. The error is a
// [projections.ErrRatesUnavailable] if ClickHouse does not answer.
func (s *Store) ReadRates(ctx context.Context, q projections.RateQuery) (page projections.RatePage, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	beyond := q.BeyondRollup() != nil
	if beyond && q.From >= q.To {
		return page, nil
	}
	sums := newRateSums(beyond)
	if !q.By.InTime() || q.By == projections.ByHour && !beyond || q.By == projections.ByDay && q.Zone == nil {
		return s.ask(ctx, sums, &q)
	}
	// ClickHouse adds up what no zone divides, and the rest is added up here, so that both sides
	// have the same idea of zones.
	parts := q
	parts.Keys, parts.Bins, parts.Sort, parts.Reverse, parts.MinMessages, parts.Offset, parts.Limit = nil, true, projections.SortKey, false, 0, 0, maxParts+1
	if parts.By = projections.ByHour; q.By == projections.ByWeek && q.Zone == nil {
		parts.By = projections.ByDay
	}
	parts.Zone, sums.seconds = nil, true
	found, err := s.ask(ctx, sums, &parts)
	if err != nil {
		return page, err
	}
	if len(found.Rows) > maxParts {
		return page, projections.ErrTooManyCohorts
	}
	rows := projections.NewRateSums(q)
	for i := range found.Rows {
		at, err := strconv.ParseInt(found.Rows[i].Key, 10, 64)
		if err != nil {
			return page, fmt.Errorf("read read rates: %w", err)
		}
		rows.Add(at*1000, &found.Rows[i])
	}
	return rows.Page(), nil
}

// maxParts are added up here: the quarters of an hour of fourteen years.
const maxParts = 500_000

// ask answers a query whose rows one SELECT returns.
func (s *Store) ask(ctx context.Context, sums *rateSums, q *projections.RateQuery) (page projections.RatePage, err error) {
	if page, err = s.askOnce(ctx, sums, q); err == nil && len(page.Rows) == 0 && q.Offset > 0 {
		first := *q
		first.Offset, first.Limit = 0, 1
		var all projections.RatePage
		all, err = s.askOnce(ctx, sums, &first)
		page.Total = all.Total
	}
	return page, err
}

// askOnce is ask, but that an answer beyond the last row has no total.
func (s *Store) askOnce(ctx context.Context, sums *rateSums, q *projections.RateQuery) (page projections.RatePage, err error) {
	if sums.byBegin {
		return s.askDetails(ctx, sums, q)
	}
	if parts := sums.parts(q, s.sources(q)); len(parts) > 0 {
		return s.query(ctx, sums, q, parts)
	}
	return page, nil
}

func (s *Store) query(ctx context.Context, sums *rateSums, q *projections.RateQuery, parts []string) (page projections.RatePage, err error) {
	found, err := s.conn.Query(ctx, sums.sql(q, parts))
	if err != nil {
		return page, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	defer found.Close()
	for found.Next() {
		if err := found.Scan(sums.targets...); err != nil {
			return page, fmt.Errorf("read read rates: %w", err)
		}
		r, err := sums.row(q)
		if err != nil {
			return page, fmt.Errorf("read read rates: %w", err)
		}
		page.Rows = append(page.Rows, r)
		page.Total = int(sums.total)
	}
	if err := found.Err(); err != nil {
		return page, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	return page, nil
}

// source is where a part of the answer comes from: the rows of a table from one hour to another,
// both included.
type source struct {
	table       *table
	column      string // has the time
	first, last int64  // hours since 1970
}

// sources are the parts of the answer; no cohort is in two of them. There are none for a span
// without hours.
func (s *Store) sources(q *projections.RateQuery) []source {
	first, last := q.Hours()
	if first > last {
		return nil
	}
	// As the hours are stored.
	first, last = min(max(first, 0), lastHour), min(max(last, 0), lastHour)
	if (q.By.InTime() || q.By == projections.ByApp) && q.Group == "" && q.Sender == "" && q.Label == "" {
		return []source{{hoursTable, "hour", first, last}}
	}
	days := daysFor(q)
	// From the first beginning of a day in the span to the last.
	begin, end := (first+23)/24*24, (last+1)/24*24
	if days == nil || begin >= end || !s.days.Load() {
		return []source{{cohortsTable, "hour", first, last}}
	}
	sources := []source{{days, "day", begin, end - 24}}
	if first < begin {
		sources = append(sources, source{cohortsTable, "hour", first, begin - 1})
	}
	if end <= last {
		sources = append(sources, source{cohortsTable, "hour", end, last})
	}
	return sources
}

// daysFor is the table of days that has what a query about groups or senders asks for; nil if none
// has.
func daysFor(q *projections.RateQuery) *table {
	switch {
	case q.By == projections.ByHour || q.By == projections.ByLabel || q.Label != "":
	case q.By == projections.ByApp && q.Group == "" && q.Sender == "":
	case q.By != projections.BySender && q.Sender == "":
		return groupDaysTable
	case q.By != projections.ByGroup && q.Group == "":
		return senderDaysTable
	}
	return nil
}

// UseDays has queries answered from the totals of days, too. It is called when these are as
// complete as everything else: in a ClickHouse that was filled by a version without them, they are
// not before.
func (s *Store) UseDays() { s.days.Store(true) }

// rateSums asks for the rows of an answer, and has the one being read.
type rateSums struct {
	columns countColumns // of one row, the sums
	summed  []string     // the names of the columns that are added up
	targets []any

	key string
	// seconds: keys of rows in time are told as Unix time, and byBegin: bins by where they begin.
	seconds, byBegin bool
	total            uint64
	bins             []uint16
	begins           []int64 // instead of bins, where each begins
	counts           []uint64
}

var countsTable = tableOf[countColumns]("")

// newRateSums asks for bins by their numbers, or by where they begin.
func newRateSums(byBegin bool) *rateSums {
	r := &rateSums{byBegin: byBegin}
	names, targets := countsTable.scan(&r.columns, summed)
	r.summed = names
	var bins any = &r.bins
	if byBegin {
		bins = &r.begins
	}
	r.targets = append(append([]any{&r.key, &r.total}, targets...), bins, &r.counts)
	return r
}

// parts are the SELECTs for what a query adds up, from the tables of the rollup.
func (r *rateSums) parts(q *projections.RateQuery, sources []source) (parts []string) {
	names := strings.Join(r.summed, ", ")
	for _, from := range sources {
		parts = append(parts, fmt.Sprintf("SELECT %s AS key, %s, bins, counts FROM %s FINAL WHERE %s",
			from.key(q), names, from.table.name, from.where(q)))
	}
	return parts
}

// sql is the SELECT for the rows of the answer.
func (r *rateSums) sql(q *projections.RateQuery, parts []string) string {
	var sums, names []string
	for _, name := range r.summed {
		names = append(names, "all_"+strings.Trim(name, "`"))
		sums = append(sums, "sum("+name+") AS "+names[len(names)-1])
	}
	having := fmt.Sprintf("HAVING all_messages >= %d", q.MinMessages)
	if q.Keys != nil {
		having += " AND toString(key) IN (" + literals(r.keys(q)) + ")"
	}
	// No row ever moves from one month to another, so the months need not be merged with each
	// other.
	return fmt.Sprintf(`SELECT toString(key), count() OVER (), %s, times.1, times.2
		FROM (SELECT key, %s, sumMap(bins, counts) AS times FROM (%s) GROUP BY key %s)
		ORDER BY %s LIMIT %d, %d
		SETTINGS do_not_merge_across_partitions_select_final = 1`,
		strings.Join(names, ", "), strings.Join(sums, ", "), strings.Join(parts, " UNION ALL "), having, orderBy(q), q.Offset, q.Limit)
}

// keys are those that a query keeps, as they stand in the answer.
func (r *rateSums) keys(q *projections.RateQuery) (keys []string) {
	if !q.By.InTime() {
		return q.Keys
	}
	for _, key := range q.Keys {
		if at, err := time.Parse(time.RFC3339, key); err == nil {
			keys = append(keys, strconv.FormatInt(at.Unix(), 10))
		}
	}
	return keys
}

// orderBy is the order of the rows, as projections.RateQuery.Page has it.
func orderBy(q *projections.RateQuery) string {
	down, up := "DESC", "ASC"
	if q.Reverse {
		down, up = up, down
	}
	// The bin with the time of a reader, who is counted from 1; there is none beyond the last.
	binOf := func(reader string) string {
		return "times.1[arrayFirstIndex(n -> n >= (" + reader + "), arrayCumSum(times.2))]"
	}
	by := func(part string, of string) string {
		if of == "all_eligible" {
			reader := "intDiv(all_eligible * " + part + " + 9, 10)"
			return fmt.Sprintf("%s = 0 OR %s > all_read, %s %s, key", reader, reader, binOf(reader), up)
		}
		return fmt.Sprintf("all_read = 0, %s %s, key", binOf("toUInt64("+part+" * (all_read - 1)) + 1"), up)
	}
	switch q.Sort {
	case projections.SortUsual:
		if q.By.InTime() {
			return "key " + up
		}
		return "all_messages " + down + ", key"
	case projections.SortMessages:
		return "all_messages " + down + ", key"
	case projections.SortEligible:
		return "all_eligible " + down + ", key"
	case projections.SortDelivered:
		return "all_delivered " + down + ", key"
	case projections.SortRead:
		return "all_read " + down + ", key"
	case projections.SortNotRead:
		return "all_eligible - all_read " + down + ", key"
	case projections.SortRecalled:
		return "all_recalled " + down + ", key"
	case projections.SortRate:
		return "all_eligible = 0, all_read / all_eligible " + down + ", key"
	case projections.SortP50:
		return by("0.5", "all_read")
	case projections.SortP90:
		return by("0.9", "all_read")
	case projections.SortP99:
		return by("0.99", "all_read")
	case projections.SortR50:
		return by("5", "all_eligible")
	case projections.SortR90:
		return by("9", "all_eligible")
	}
	return "key " + up
}

// row returns the row that was read, with its bins if they are wanted.
func (r *rateSums) row(q *projections.RateQuery) (row projections.RateRow, err error) {
	row.Key = r.key
	if q.By.InTime() && !r.seconds {
		seconds, err := strconv.ParseInt(r.key, 10, 64)
		if err != nil {
			return row, err
		}
		row.Key = q.RowAt(seconds * 1000)
	}
	row.Messages = r.columns.Messages.values[0]
	row.Eligible = r.columns.Eligible.values[0]
	row.Delivered = r.columns.Delivered.values[0]
	row.Read = r.columns.Read.values[0]
	row.Recalled = r.columns.Recalled.values[0]
	if r.byBegin {
		r.bins = r.bins[:0]
		for _, ms := range r.begins {
			r.bins = append(r.bins, projections.TimeBin(ms))
		}
	}
	times, err := distribution(r.bins, r.counts, row.Read)
	if err != nil {
		return row, err
	}
	row.SetTimes(times)
	if q.Bins {
		row.Bins = times.Bins()
	}
	return row, nil
}

// key is the expression for what a row of the answer stands for.
func (f *source) key(q *projections.RateQuery) string {
	switch q.By {
	case projections.ByGroup:
		return "`group`"
	case projections.BySender:
		return "sender"
	case projections.ByLabel:
		return "label"
	case projections.ByApp:
		return "app"
	case projections.ByDay:
		return "toUnixTimestamp(toStartOfDay(" + f.column + "))"
	}
	return "toUnixTimestamp(" + f.column + ")"
}

// where is the condition of the rows that are in the answer.
func (f *source) where(q *projections.RateQuery) string {
	// Literals rather than parameters: those are escaped differently by each protocol.
	at := func(hour int64) string {
		return "toDateTime(" + literal(hourTime(hour).Format(time.DateTime)) + ", 'UTC')"
	}
	where := append(conditions(q), f.column+" >= "+at(f.first), f.column+" <= "+at(f.last))
	return strings.Join(where, " AND ")
}

// conditions are those that a query has besides its span and its messages.
func conditions(q *projections.RateQuery) []string {
	where := []string{"true"}
	for _, only := range [][2]string{{"app", q.App}, {"`group`", q.Group}, {"sender", q.Sender}, {"label", q.Label}} {
		if only[1] != "" {
			where = append(where, only[0]+" = "+literal(only[1]))
		}
	}
	switch q.By {
	case projections.ByGroup:
		where = append(where, "`group` != ''")
	case projections.ByLabel:
		where = append(where, "label != ''")
	}
	return where
}

// distribution makes the distribution of the times to read, from the counts of their bins,
// ascending, and how many reads there are. Of more times than that the longest are left out: a read
// is in events before the numbers of its message have it.
func distribution(bins []uint16, counts []uint64, reads uint64) (*projections.Distribution, error) {
	if len(bins) != len(counts) {
		return nil, fmt.Errorf("%d bins with %d counts", len(bins), len(counts))
	}
	d := &projections.Distribution{}
	for i, bin := range bins {
		if bin >= projections.NumBins {
			return nil, fmt.Errorf("there is no bin %d", bin)
		}
		if n := min(counts[i], reads-d.Total()); n > 0 {
			d.Add(bin, n)
		}
	}
	return d, nil
}
