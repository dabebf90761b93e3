package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// ReadRates answers from the tables of cells, with the rows that the embedded rollup gives, in the order and with the limit
// of the query. It reads hours where that is enough, totals of days for the whole days of the span once they are
// there (see [Store.UseDays]), and cohorts for the rest.
func (s *Store) ReadRates(ctx context.Context, q projections.RateQuery) ([]projections.RateRow, error) {
	sources := s.sources(&q)
	if len(sources) == 0 {
		return nil, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	found, err := s.conn.Query(ctx, ratesSQL(&q, sources))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	defer found.Close()
	var rows []projections.RateRow
	for found.Next() {
		var (
			r      projections.RateRow
			bins   []uint16
			counts []uint64
		)
		if err := found.Scan(&r.Key, &r.Messages, &r.Eligible, &r.Delivered, &r.Read, &r.Recalled, &bins, &counts); err != nil {
			return nil, fmt.Errorf("read read rates: %w", err)
		}
		if r.P50, r.P90, r.P99, err = percentiles(bins, counts); err != nil {
			return nil, fmt.Errorf("read read rates: %w", err)
		}
		if q.Bins {
			r.Bins = make([]projections.BinCount, len(bins))
			for i, bin := range bins {
				r.Bins[i] = projections.BinCount{Bin: bin, Count: counts[i]}
			}
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	return projections.SortRates(q, rows), nil
}

// source is a part of the answer: the cells of a table from one time to another, both of them in.
type source struct {
	table       *table
	column      string // with the time
	first, last int64  // hours
}

// sources are the parts of the answer, no cohort in two of them; none for a span without hours.
func (s *Store) sources(q *projections.RateQuery) []source {
	first, last := q.Hours()
	if first > last {
		return nil
	}
	// As the hours are stored.
	first, last = min(max(first, 0), lastHour), min(max(last, 0), lastHour)
	if q.By.InTime() && q.Group == "" && q.Sender == "" {
		return []source{{&hoursTable, "hour", first, last}}
	}
	days := daysFor(q)
	// From the first beginning of a day in the span to the last.
	begin, end := (first+23)/24*24, (last+1)/24*24
	if days == nil || begin >= end || !s.days.Load() {
		return []source{{&cohortsTable, "hour", first, last}}
	}
	sources := []source{{days, "day", begin, end - 24}}
	if first < begin {
		sources = append(sources, source{&cohortsTable, "hour", first, begin - 1})
	}
	if end <= last {
		sources = append(sources, source{&cohortsTable, "hour", end, last})
	}
	return sources
}

// daysFor is the table of days that can tell the rows of a question about groups or senders; nil if none can.
func daysFor(q *projections.RateQuery) *table {
	switch {
	case q.By == projections.ByHour:
	case q.By != projections.BySender && q.Sender == "":
		return &groupDaysTable
	case q.By != projections.ByGroup && q.Group == "":
		return &senderDaysTable
	}
	return nil
}

// UseDays has questions answered from the totals of days, too. It is called when these are as complete as everything
// else; before, for one that was filled by a version without them, they would be too little.
func (s *Store) UseDays() { s.days.Store(true) }

// ratesSQL asks for the rows of the answer.
func ratesSQL(q *projections.RateQuery, sources []source) string {
	show, order := "key", "sum(messages) DESC, key"
	if q.By.InTime() {
		show, order = "formatDateTime(key, '%FT%TZ', 'UTC')", "key" // as projections.HourKey
	}
	var parts []string
	for _, from := range sources {
		parts = append(parts, fmt.Sprintf("SELECT %s AS key, messages, eligible, delivered, read, recalled, bins, counts FROM %s FINAL WHERE %s",
			from.key(q), from.table.name, from.where(q)))
	}
	// A cell never moves from one month to another, so the months need not be merged with each other.
	return fmt.Sprintf(`SELECT %s, sum(messages), sum(eligible), sum(delivered), sum(read), sum(recalled),
			(sumMap(bins, counts) AS times).1, times.2
		FROM (%s) GROUP BY key ORDER BY %s LIMIT %d
		SETTINGS do_not_merge_across_partitions_select_final = 1`, show, strings.Join(parts, " UNION ALL "), order, q.Limit)
}

// key is what the rows of the answer stand for.
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

// where keeps the cells that are in the answer.
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

func percentiles(bins []uint16, counts []uint64) (p50, p90, p99 int64, err error) {
	if len(bins) != len(counts) {
		return 0, 0, 0, fmt.Errorf("%d bins with %d counts", len(bins), len(counts))
	}
	var d projections.Distribution
	for i, bin := range bins {
		if bin >= projections.NumBins {
			return 0, 0, 0, fmt.Errorf("there is no bin %d", bin)
		}
		d.Add(bin, counts[i])
	}
	return d.Percentiles()
}
