package httpapi

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const readRate = base + "/analytics/read-rate"

func TestReadRate(t *testing.T) {
	h := newHarness(t)
	h.analytics.rows = []projections.RateRow{
		{Key: "g1", CohortCounts: projections.CohortCounts{Messages: 4, Eligible: 16, Delivered: 12, Read: 12, Recalled: 1}, P50: 0, P90: 1500, P99: 60_000, R50: 3, R90: projections.NotYet},
		{Key: "g2", CohortCounts: projections.CohortCounts{Messages: 1}, R50: projections.NotYet, R90: projections.NotYet},
	}
	a := h.want(request{method: "GET", path: readRate + "?group_by=group"}, 200, "")
	age := `"source":"clickhouse","as_of":"` + string(events.AppendTime(nil, sentAt)) + `","behind_entries":3,"behind_ms":250}` + "\n"
	want := `{"rows":[` +
		`{"key":"g1","messages":4,"eligible":16,"delivered":12,"read":12,"recalled":1,"read_rate":0.75,"p50_ms":0,"p90_ms":1500,"p99_ms":60000,"recipients_p50_ms":3,"recipients_p90_ms":null},` +
		`{"key":"g2","messages":1,"eligible":0,"delivered":0,"read":0,"recalled":0,"read_rate":0,"p50_ms":null,"p90_ms":null,"p99_ms":null,"recipients_p50_ms":null,"recipients_p90_ms":null}],` + age
	if string(a.body) != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	h.analytics.rows = nil
	if a := h.want(request{method: "GET", path: readRate}, 200, ""); string(a.body) != `{"rows":[],`+age {
		t.Errorf("got %s", a.body)
	}
}

func TestReadRateQueries(t *testing.T) {
	h := newHarness(t)
	const day = 24 * 60 * 60 * 1000
	const noon = 1772366400000 // 2026-03-01T12:00:00Z
	for name, test := range map[string]struct {
		query string
		want  projections.RateQuery
	}{
		"all": {
			"from=2026-03-01T12:00:00Z&to=1772366400001&group_by=sender&group=g1&sender=" + url.QueryEscape("a b&c") + "&limit=7",
			projections.RateQuery{From: noon, To: noon + 1, By: projections.BySender, Group: "g1", Sender: "a b&c", Limit: 7},
		},
		"an offset":     {"from=2026-03-01T20:00:00%2B08:00&to=2026-03-01T20:00:00.5%2B08:00", projections.RateQuery{From: noon, To: noon + 500, Limit: 100}},
		"not escaped":   {"from=2026-03-01T20:00:00+08:00&to=1772366400001", projections.RateQuery{From: noon, To: noon + 1, Limit: 100}},
		"a day until":   {"to=1772366400000", projections.RateQuery{From: noon - day, To: noon, Limit: 100}},
		"before 1970":   {"from=-5&to=0", projections.RateQuery{From: -5, To: 0, Limit: 100}},
		"hours by name": {"from=1&to=2&group_by=hour", projections.RateQuery{From: 1, To: 2, Limit: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.App = testApp
			h.want(request{method: "GET", path: readRate + "?" + test.query}, 200, "")
			if got := h.analytics.asked(); got != test.want {
				t.Errorf("asked %+v, want %+v", got, test.want)
			}
		})
	}
	before := time.Now().UnixMilli()
	h.want(request{method: "GET", path: readRate}, 200, "")
	if q := h.analytics.asked(); q.To < before || q.To > time.Now().UnixMilli() || q.To-q.From != day {
		t.Errorf("without parameters it asked %+v", q)
	}
}

func TestBadReadRateQueries(t *testing.T) {
	h := newHarness(t)
	for query, field := range map[string]string{
		"from=yesterday": "from", "to=2026-03-01": "to", "to=1.5": "to", "from=5&to=5": "from", "from=6&to=5": "from",
		"group_by=user": "group_by", "group_by=HOUR": "group_by", "limit=0": "limit", "limit=1001": "limit",
		"group=": "group", "sender=a%00b": "sender",
	} {
		t.Run(query, func(t *testing.T) {
			a := h.want(request{method: "GET", path: readRate + "?" + query, wrong: true}, 400, "invalid_request")
			if got := a.field(t, "error", "field"); got != field {
				t.Errorf("field %v, want %s", got, field)
			}
		})
	}
	h.want(request{method: "GET", path: readRate, token: h.token("alice")}, 403, "forbidden")
	h.want(request{method: "GET", path: "/v1/apps/acme/other/analytics/read-rate"}, 404, "app_not_found")
	h.analytics.err = projections.ErrTooManyCohorts
	h.want(request{method: "GET", path: readRate}, 400, "range_too_large")
	h.analytics.err = errors.New("disk on fire")
	h.want(request{method: "GET", path: readRate}, 500, "internal")
}
