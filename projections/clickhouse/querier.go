package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// ReadRates answers a query with the rows that the embedded rollup gives, in the order and with the
// limit of the query. It reads totals of hours where that is enough, totals of days for the whole
// days of the span once they are complete (see [Store.UseDays]), and cohorts for the rest. The
// error is a [projections.ErrRatesUnavailable] if ClickHouse does not answer.
func (s *Store) ReadRates(ctx context.Context, q projections.RateQuery) ([]projections.RateRow, error) {
	sources := s.sources(&q)
	if len(sources) == 0 {
		return nil, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	sums := newRateSums()
	found, err := s.conn.Query(ctx, sums.sql(&q, sources))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	defer found.Close()
	var rows []projections.RateRow
	for found.Next() {
		if err := found.Scan(sums.targets...); err != nil {
			return nil, fmt.Errorf("read read rates: %w", err)
		}
		r, err := sums.row(q.Bins)
		if err != nil {
			return nil, fmt.Errorf("read read rates: %w", err)
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	return projections.SortRates(q, rows), nil
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
	if q.By.InTime() && q.Group == "" && q.Sender == "" {
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
	case q.By == projections.ByHour:
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

	key    string
	bins   []uint16
	counts []uint64
}

var countsTable = tableOf[countColumns]("")

func newRateSums() *rateSums {
	r := &rateSums{}
	names, targets := countsTable.scan(&r.columns, summed)
	r.summed = names
	r.targets = append(append([]any{&r.key}, targets...), &r.bins, &r.counts)
	return r
}

// sql is the SELECT for the rows of the answer.
func (r *rateSums) sql(q *projections.RateQuery, sources []source) string {
	show, order := "key", "sum(messages) DESC, key"
	if q.By.InTime() {
		show, order = "formatDateTime(key, '%FT%TZ', 'UTC')", "key" // as projections.HourKey
	}
	names := strings.Join(r.summed, ", ")
	var parts []string
	for _, from := range sources {
		parts = append(parts, fmt.Sprintf("SELECT %s AS key, %s, bins, counts FROM %s FINAL WHERE %s",
			from.key(q), names, from.table.name, from.where(q)))
	}
	// No row ever moves from one month to another, so the months need not be merged with each
	// other.
	return fmt.Sprintf(`SELECT %s, sum(%s), (sumMap(bins, counts) AS times).1, times.2
		FROM (%s) GROUP BY key ORDER BY %s LIMIT %d
		SETTINGS do_not_merge_across_partitions_select_final = 1`,
		show, strings.Join(r.summed, "), sum("), strings.Join(parts, " UNION ALL "), order, q.Limit)
}

// row returns the row that was read, with its bins if they are wanted.
func (r *rateSums) row(bins bool) (row projections.RateRow, err error) {
	row.Key = r.key
	row.Messages = r.columns.Messages.values[0]
	row.Eligible = r.columns.Eligible.values[0]
	row.Delivered = r.columns.Delivered.values[0]
	row.Read = r.columns.Read.values[0]
	row.Recalled = r.columns.Recalled.values[0]
	times, err := distribution(r.bins, r.counts)
	if err != nil {
		return row, err
	}
	row.SetTimes(times)
	if bins {
		row.Bins = make([]projections.BinCount, len(r.bins))
		for i, bin := range r.bins {
			row.Bins[i] = projections.BinCount{Bin: bin, Count: r.counts[i]}
		}
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
	case projections.ByDay:
		return "toStartOfDay(" + f.column + ")"
	}
	return f.column
}

// where is the condition of the rows that are in the answer.
func (f *source) where(q *projections.RateQuery) string {
	// Literals rather than parameters: those are escaped differently by each protocol.
	at := func(hour int64) string {
		return "toDateTime(" + literal(hourTime(hour).Format(time.DateTime)) + ", 'UTC')"
	}
	where := []string{"app = " + literal(q.App), f.column + " >= " + at(f.first), f.column + " <= " + at(f.last)}
	if q.Group != "" {
		where = append(where, "`group` = "+literal(q.Group))
	}
	if q.Sender != "" {
		where = append(where, "sender = "+literal(q.Sender))
	}
	if q.By == projections.ByGroup {
		where = append(where, "`group` != ''")
	}
	return strings.Join(where, " AND ")
}

// distribution is that of the times to read, from the counts of their bins.
func distribution(bins []uint16, counts []uint64) (*projections.Distribution, error) {
	if len(bins) != len(counts) {
		return nil, fmt.Errorf("%d bins with %d counts", len(bins), len(counts))
	}
	d := &projections.Distribution{}
	for i, bin := range bins {
		if bin >= projections.NumBins {
			return nil, fmt.Errorf("there is no bin %d", bin)
		}
		d.Add(bin, counts[i])
	}
	return d, nil
}
