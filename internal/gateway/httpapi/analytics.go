package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// defaultRateSpan is how far back a query goes that does not say from when.
const defaultRateSpan = 24 * time.Hour

var rateGroupings = map[string]projections.RateBy{
	"": projections.ByHour, "hour": projections.ByHour, "day": projections.ByDay, "group": projections.ByGroup, "sender": projections.BySender,
}

type rateBody struct {
	Key       string  `json:"key"`
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

func (a *API) getReadRate(c *call) error {
	q, err := c.rateQuery(time.Now())
	if err != nil {
		return err
	}
	rates, err := a.cfg.Analytics.Rates(c.r.Context(), q)
	if err != nil {
		return err
	}
	rows := make([]rateBody, len(rates.Rows))
	for i := range rates.Rows {
		r := &rates.Rows[i]
		rows[i] = rateBody{
			Key: r.Key, Messages: r.Messages, Eligible: r.Eligible, Delivered: r.Delivered, Read: r.Read,
			Recalled: r.Recalled, ReadRate: r.Rate(),
		}
		if r.Read > 0 {
			rows[i].P50, rows[i].P90, rows[i].P99 = &r.P50, &r.P90, &r.P99
		}
		rows[i].R50, rows[i].R90 = reached(&r.R50), reached(&r.R90)
	}
	gateway.WriteJSON(c.w, http.StatusOK, ratesBody{
		Rows: rows, Source: rates.Source, AsOf: timestamp(rates.AsOf), BehindEntries: rates.BehindEntries, BehindMS: rates.BehindMS,
	})
	return nil
}

// reached is nil for what is not yet.
func reached(ms *float64) *float64 {
	if *ms == projections.NotYet {
		return nil
	}
	return ms
}

// ratesBody is an answer, with how old it is: what happened after as_of may be missing in it.
type ratesBody struct {
	Rows          []rateBody `json:"rows"`
	Source        string     `json:"source"`
	AsOf          timestamp  `json:"as_of"`
	BehindEntries uint64     `json:"behind_entries"`
	BehindMS      int64      `json:"behind_ms"`
}

// rateQuery reads the parameters of a read-rate query.
func (c *call) rateQuery(now time.Time) (q projections.RateQuery, err error) {
	params := c.r.URL.Query()
	q = projections.RateQuery{App: c.app, Group: params.Get("group"), Sender: params.Get("sender")}
	for name, id := range map[string]string{"group": q.Group, "sender": q.Sender} {
		if params.Has(name) {
			if problem := events.IDProblem(id); problem != "" {
				return q, invalid(name, problem)
			}
		}
	}
	var known bool
	if q.By, known = rateGroupings[params.Get("group_by")]; !known || params.Has("group_by") && params.Get("group_by") == "" {
		return q, invalid("group_by", "not hour, day, group or sender")
	}
	if q.To, err = timeParam(params, "to", now.UnixMilli()); err != nil {
		return q, err
	}
	if q.From, err = timeParam(params, "from", q.To-defaultRateSpan.Milliseconds()); err != nil {
		return q, err
	}
	if q.From >= q.To {
		return q, invalid("from", "not before to")
	}
	q.Limit, err = c.limit()
	return q, err
}

// timeParam reads a time as Unix milliseconds.
func timeParam(params url.Values, name string, unless int64) (int64, error) {
	if !params.Has(name) {
		return unless, nil
	}
	// A plus sign that was not escaped, as in +08:00, arrives as a space.
	ms, ok := events.ParseTime(strings.ReplaceAll(params.Get(name), " ", "+"))
	if !ok {
		return 0, invalid(name, "neither RFC 3339 nor whole Unix milliseconds")
	}
	return ms, nil
}
