package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// ReadRates answers from the table cohorts, or hours where that is enough, with the rows that the embedded rollup gives,
// in the order and with the limit of the query.
func (s *Store) ReadRates(ctx context.Context, q projections.RateQuery) ([]projections.RateRow, error) {
	first, last := q.Hours()
	if first > last {
		return nil, nil
	}
	key, order := "hour", "hour"
	switch q.By {
	case projections.ByGroup:
		key, order = "`group`", "sum(messages) DESC, `group`"
	case projections.BySender:
		key, order = "sender", "sum(messages) DESC, sender"
	}
	// Literals rather than parameters: those are escaped differently by each protocol.
	where := []string{
		"app = " + literal(q.App),
		"hour >= toDateTime(" + literal(hourTime(first).Format(time.DateTime)) + ", 'UTC')",
		"hour <= toDateTime(" + literal(hourTime(last).Format(time.DateTime)) + ", 'UTC')",
	}
	if q.Group != "" {
		where = append(where, "`group` = "+literal(q.Group))
	}
	if q.Sender != "" {
		where = append(where, "sender = "+literal(q.Sender))
	}
	if q.By == projections.ByGroup {
		where = append(where, "`group` != ''")
	}
	table := cohortsTable.name
	if q.By == projections.ByHour && q.Group == "" && q.Sender == "" {
		table = hoursTable.name
	}
	// A cohort never moves from one month to another, so the months need not be merged with each other.
	sql := fmt.Sprintf(`SELECT toString(%s), any(hour), sum(messages), sum(eligible), sum(delivered), sum(read), sum(recalled),
			(sumMap(bins, counts) AS times).1, times.2
		FROM %s FINAL WHERE %s GROUP BY %[1]s ORDER BY %[4]s LIMIT %[5]d
		SETTINGS do_not_merge_across_partitions_select_final = 1`, key, table, strings.Join(where, " AND "), order, q.Limit)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	found, err := s.conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", projections.ErrRatesUnavailable, err)
	}
	defer found.Close()
	var rows []projections.RateRow
	for found.Next() {
		var (
			r      projections.RateRow
			hour   time.Time
			bins   []uint16
			counts []uint64
		)
		if err := found.Scan(&r.Key, &hour, &r.Messages, &r.Eligible, &r.Delivered, &r.Read, &r.Recalled, &bins, &counts); err != nil {
			return nil, fmt.Errorf("read read rates: %w", err)
		}
		if q.By == projections.ByHour {
			r.Key = projections.HourKey(hourOf(hour))
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
