package httpapi

import (
	"math"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// rateNumbers are what is told of some messages.
type rateNumbers struct {
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

func newRateNumbers(r *projections.RateRow) rateNumbers {
	n := rateNumbers{
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

type rateBody struct {
	Key string `json:"key"`
	rateNumbers
	// Compared is the same of the other span, if one was named.
	Compared *rateNumbers `json:"compared,omitempty"`
}

// ratesBody is an answer, with how old it is: what happened after as_of may be missing in it.
type ratesBody struct {
	Rows []rateBody `json:"rows"`
	// Total is how many rows there are on all pages.
	Total      int    `json:"total"`
	NextCursor string `json:"next_cursor"`
	// The span that was counted, as it was widened.
	From          timestamp `json:"from"`
	To            timestamp `json:"to"`
	Compared      *rateSpan `json:"compared,omitempty"`
	Source        string    `json:"source"`
	AsOf          timestamp `json:"as_of"`
	BehindEntries uint64    `json:"behind_entries"`
	BehindMS      int64     `json:"behind_ms"`
}

// rateSpan is a span of time in which messages were sent.
type rateSpan struct {
	From timestamp `json:"from"`
	To   timestamp `json:"to"`
}

// counted is the span that an answer to a query counts.
func counted(q *projections.RateQuery) rateSpan {
	from, to := q.From, q.To
	if begin, end := q.Hours(); begin <= end && q.BeyondRollup() == nil {
		from = begin * projections.HourMillis
		if to < math.MaxInt64-projections.HourMillis {
			to = (end + 1) * projections.HourMillis
		}
	}
	const first, last = 0, 253_402_300_799_999 // the years that a timestamp can tell
	return rateSpan{timestamp(min(max(from, first), last)), timestamp(min(max(to, first), last))}
}

func (a *API) getReadRate(c *call) error {
	asked, err := a.rateQuery(c, time.Now())
	if err != nil {
		return err
	}
	q := &asked.query
	rates, err := a.cfg.Analytics.Rates(c.r.Context(), *q)
	if err != nil {
		return asked.refused(err)
	}
	span := counted(q)
	body := ratesBody{
		Rows: make([]rateBody, len(rates.Rows)), Total: rates.Total, From: span.From, To: span.To,
		Source: rates.Source, AsOf: timestamp(rates.AsOf), BehindEntries: rates.BehindEntries, BehindMS: rates.BehindMS,
	}
	for i := range rates.Rows {
		body.Rows[i] = rateBody{Key: rates.Rows[i].Key, rateNumbers: newRateNumbers(&rates.Rows[i])}
	}
	if next := q.Offset + len(rates.Rows); len(rates.Rows) > 0 && next < rates.Total {
		body.NextCursor = a.placeCursor(listRates, asked.place(next))
	}
	if asked.compared != nil && len(rates.Rows) > 0 {
		if err := a.compare(c, asked, &body); err != nil {
			return err
		}
	}
	return body.write(c, asked.format)
}

// compare adds to each row what the other span has with its key; zeros if that is nothing.
func (a *API) compare(c *call, asked *rateQuestion, body *ratesBody) error {
	q := asked.query
	q.From, q.To, q.Offset, q.MinMessages, q.Limit = asked.compared.from, asked.compared.to, 0, 0, len(body.Rows)
	for i := range body.Rows {
		q.Keys = append(q.Keys, body.Rows[i].Key)
	}
	rates, err := a.cfg.Analytics.Rates(c.r.Context(), q)
	if err != nil {
		return asked.refused(err)
	}
	byKey := map[string]*projections.RateRow{}
	for i := range rates.Rows {
		byKey[rates.Rows[i].Key] = &rates.Rows[i]
	}
	for i := range body.Rows {
		row := byKey[body.Rows[i].Key]
		if row == nil {
			row = &projections.RateRow{R50: projections.NotYet, R90: projections.NotYet}
		}
		n := newRateNumbers(row)
		body.Rows[i].Compared = &n
	}
	span := counted(&q)
	body.Compared = &span
	return nil
}

// write answers in the format that was asked for.
func (b *ratesBody) write(c *call, format rateFormat) error {
	if format == rateJSON {
		gateway.WriteJSON(c.w, http.StatusOK, b)
		return nil
	}
	h := c.w.Header()
	h.Set("Content-Type", string(format))
	h.Set("X-Total", itoa(b.Total))
	h.Set("X-Next-Cursor", b.NextCursor)
	h.Set("X-Source", b.Source)
	h.Set("X-Behind-Entries", itoa(int(b.BehindEntries)))
	if format == rateNDJSON {
		return b.writeLines(c.w)
	}
	return b.writeCSV(c.w)
}
