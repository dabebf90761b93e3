package httpapi

import (
	"math"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// ratesBody is an answer, with how old it is: what happened after as_of may be missing in it.
type ratesBody struct {
	Rows []gateway.RateLine `json:"rows"`
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
		Rows: gateway.RateLines(rates.Rows), Total: rates.Total, From: span.From, To: span.To,
		Source: rates.Source, AsOf: timestamp(rates.AsOf), BehindEntries: rates.BehindEntries, BehindMS: rates.BehindMS,
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

// compare adds to each row what the other span has with its key.
func (a *API) compare(c *call, asked *rateQuestion, body *ratesBody) error {
	q, err := gateway.Compare(c.r.Context(), a.cfg.Analytics, asked.query, asked.compared.from, asked.compared.to, body.Rows)
	if err != nil {
		return asked.refused(err)
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
	table := gateway.RateTable(b.Rows, b.Compared != nil)
	if format == rateNDJSON {
		_ = table.WriteLines(c.w) // an error means that the client is gone
	} else {
		_ = table.WriteCSV(c.w)
	}
	return nil
}
