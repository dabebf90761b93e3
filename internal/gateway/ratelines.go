package gateway

import (
	"context"
	"strconv"

	"github.com/receiptd/receiptd/projections"
)

// RateNumbers are the numbers of one row of an answer about read rates.
type RateNumbers struct {
	Messages  uint64  `json:"messages"`
	Eligible  uint64  `json:"eligible"`
	Delivered uint64  `json:"delivered"`
	Read      uint64  `json:"read"`
	Recalled  uint64  `json:"recalled"`
	ReadRate  float64 `json:"read_rate"`
	// Null while nobody has read.
	P50 *float64 `json:"p50_ms"`
	P90 *float64 `json:"p90_ms"`
	P99 *float64 `json:"p99_ms"`
	// Null while fewer of the eligible readers have read.
	R50 *float64 `json:"recipients_p50_ms"`
	R90 *float64 `json:"recipients_p90_ms"`
}

// newRateNumbers makes them of a row.
func newRateNumbers(r *projections.RateRow) RateNumbers {
	n := RateNumbers{
		Messages: r.Messages, Eligible: r.Eligible, Delivered: r.Delivered, Read: r.Read, Recalled: r.Recalled, ReadRate: r.Rate(),
		R50: reached(&r.R50), R90: reached(&r.R90),
	}
	if r.Read > 0 {
		n.P50, n.P90, n.P99 = &r.P50, &r.P90, &r.P99
	}
	return n
}

// reached is nil for what is not yet.
func reached(ms *float64) *float64 {
	if *ms == projections.NotYet {
		return nil
	}
	return ms
}

// RateLine is a row of an answer about read rates.
type RateLine struct {
	Key string `json:"key"`
	RateNumbers
	// Compared is the same of the other span, if one was named.
	Compared *RateNumbers `json:"compared,omitempty"`
}

// RateLines are the rows of an answer.
func RateLines(rows []projections.RateRow) []RateLine {
	lines := make([]RateLine, len(rows))
	for i := range rows {
		lines[i] = RateLine{Key: rows[i].Key, RateNumbers: newRateNumbers(&rows[i])}
	}
	return lines
}

// RateSource answers questions about read rates, in the order and within the limit of the query,
// and says how old an answer is. The error is [projections.ErrTooManyCohorts] for a question that
// is too large to answer, [projections.ErrRatesUnavailable] where nobody can answer now, and a
// [*projections.BeyondRollupError] for what only ClickHouse tells, where there is none.
type RateSource interface {
	Rates(ctx context.Context, q projections.RateQuery) (Rates, error)
}

// Compare adds to each line of the answer to a query what another span has with its key; zeros if
// that is nothing. It returns the query that it asked for that.
func Compare(ctx context.Context, source RateSource, q projections.RateQuery, from, to int64, lines []RateLine) (projections.RateQuery, error) {
	q.From, q.To, q.Offset, q.MinMessages, q.Limit, q.Keys = from, to, 0, 0, len(lines), nil
	for i := range lines {
		q.Keys = append(q.Keys, lines[i].Key)
	}
	rates, err := source.Rates(ctx, q)
	if err != nil {
		return q, err
	}
	byKey := map[string]*projections.RateRow{}
	for i := range rates.Rows {
		byKey[rates.Rows[i].Key] = &rates.Rows[i]
	}
	for i := range lines {
		row := byKey[lines[i].Key]
		if row == nil {
			row = &projections.RateRow{R50: projections.NotYet, R90: projections.NotYet}
		}
		n := newRateNumbers(row)
		lines[i].Compared = &n
	}
	return q, nil
}

// rateColumns are the columns of a table of read rates, after the key.
var rateColumns = []string{
	"messages", "eligible", "delivered", "read", "recalled", "read_rate",
	"p50_ms", "p90_ms", "p99_ms", "recipients_p50_ms", "recipients_p90_ms",
}

// values are the numbers in the order of rateColumns; what is not known is empty.
func (n *RateNumbers) values() (values []string) {
	for _, v := range []uint64{n.Messages, n.Eligible, n.Delivered, n.Read, n.Recalled} {
		values = append(values, strconv.FormatUint(v, 10))
	}
	for _, v := range []*float64{&n.ReadRate, n.P50, n.P90, n.P99, n.R50, n.R90} {
		text := ""
		if v != nil {
			text = strconv.FormatFloat(*v, 'f', -1, 64)
		}
		values = append(values, text)
	}
	return values
}

// RateTable is lines as a table; compared says whether they have the numbers of another span.
func RateTable(lines []RateLine, compared bool) Table {
	t := Table{Head: append([]string{"key"}, rateColumns...)}
	if compared {
		for _, name := range rateColumns {
			t.Head = append(t.Head, "compared_"+name)
		}
	}
	for i := range lines {
		r := &lines[i]
		row := append([]string{cell(r.Key)}, r.values()...)
		if r.Compared != nil {
			row = append(row, r.Compared.values()...)
		}
		t.Rows, t.Lines = append(t.Rows, row), append(t.Lines, r)
	}
	return t
}
