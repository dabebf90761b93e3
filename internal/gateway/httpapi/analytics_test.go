package httpapi

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
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
	a := h.want(request{method: "GET", path: readRate + "?group_by=group&from=2026-03-01T00:30:00Z&to=2026-03-02"}, 200, "")
	age := `,"source":"clickhouse","as_of":"` + string(events.AppendTime(nil, sentAt)) + `","behind_entries":3,"behind_ms":250}` + "\n"
	want := `{"rows":[` +
		`{"key":"g1","messages":4,"eligible":16,"delivered":12,"read":12,"recalled":1,"read_rate":0.75,"p50_ms":0,"p90_ms":1500,"p99_ms":60000,"recipients_p50_ms":3,"recipients_p90_ms":null},` +
		`{"key":"g2","messages":1,"eligible":0,"delivered":0,"read":0,"recalled":0,"read_rate":0,"p50_ms":null,"p90_ms":null,"p99_ms":null,"recipients_p50_ms":null,"recipients_p90_ms":null}],"total":2,"next_cursor":"","from":"2026-03-01T00:00:00.000Z","to":"2026-03-02T00:00:00.000Z"` + age
	if string(a.body) != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	h.analytics.rows = nil
	if a := h.want(request{method: "GET", path: readRate + "?from=0&to=1"}, 200, ""); string(a.body) != `{"rows":[],"total":0,"next_cursor":"","from":null,"to":"1970-01-01T01:00:00.000Z"`+age {
		t.Errorf("got %s", a.body)
	}
}

func TestReadRateQueries(t *testing.T) {
	h := newHarness(t)
	const hour = 60 * 60 * 1000
	const day = 24 * hour
	const noon = 1772366400000 // 2026-03-01T12:00:00Z
	for name, test := range map[string]struct {
		query string
		want  projections.RateQuery
	}{
		"all": {
			"from=2026-03-01T12:00:00Z&to=1772366400001&group_by=sender&group=g1&sender=" + url.QueryEscape("a b&c") + "&limit=7",
			projections.RateQuery{From: noon, To: noon + 1, By: projections.BySender, Group: "g1", Sender: "a b&c", Limit: 7},
		},
		"an offset":   {"from=2026-03-01T20:00:00%2B08:00&to=2026-03-01T20:00:00.5%2B08:00", projections.RateQuery{From: noon, To: noon + 500, Limit: 100}},
		"not escaped": {"from=2026-03-01T20:00:00+08:00&to=1772366400001", projections.RateQuery{From: noon, To: noon + 1, Limit: 100}},
		"a day until": {"to=1772366400000", projections.RateQuery{From: noon - day, To: noon, Limit: 100}},
		"before 1970": {"from=-5&to=0", projections.RateQuery{From: -5, To: 0, Limit: 100}},
		"all there is, by numbers that are no times": {
			"from=-9223372036854775808&to=9223372036854775807",
			projections.RateQuery{From: -day, To: 253402300799999, Limit: 100},
		},
		"in a zone": {
			"from=2026-03-01&to=2026-03-02T00:00:00Z&tz=Asia/Kolkata&group_by=week&order=desc&min_messages=3",
			projections.RateQuery{From: noon - day/2 - 5*hour - hour/2, To: noon + day/2, By: projections.ByWeek, Zone: zone("Asia/Kolkata"), Reverse: true, MinMessages: 3, Limit: 100},
		},
		"worst groups": {
			"from=1&to=2&group_by=group&sort=read_rate&order=asc&label=spring",
			projections.RateQuery{From: 1, To: 2, By: projections.ByGroup, Sort: projections.SortRate, Reverse: true, Label: "spring", Limit: 100},
		},
		"slowest": {
			"from=1&to=2&group_by=sender&sort=recipients_p90_ms&order=desc&tz=UTC",
			projections.RateQuery{From: 1, To: 2, By: projections.BySender, Sort: projections.SortR90, Reverse: true, Limit: 100},
		},
		"some messages": {
			"to=2&group_by=reader&message=m1&message=m%202",
			projections.RateQuery{From: 0, To: 2, By: projections.ByReader, Messages: []string{"m1", "m 2"}, Limit: 100},
		},
		"hours by name": {"from=1&to=2&group_by=hour", projections.RateQuery{From: 1, To: 2, Limit: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.App = testApp
			h.want(request{method: "GET", path: readRate + "?" + test.query}, 200, "")
			if got := h.analytics.asked(); !reflect.DeepEqual(got, test.want) {
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
		"from=yesterday": "from", "to=2026-03-32": "to", "to=1.5": "to", "from=5&to=5": "from", "from=6&to=5": "from",
		"group_by=user": "group_by", "group_by=HOUR": "group_by", "limit=0": "limit", "limit=1001": "limit",
		"group=": "group", "sender=a%00b": "sender",
		"label=": "label", "message=m1&message=": "message", "sort=p50": "sort", "order=up": "order", "min_messages=-1": "min_messages",
		"tz=Local": "tz", "tz=Mars/Phobos": "tz", "tz=": "tz", "compare=next": "compare", "compare=previous": "group_by",
		"group_by=app&compare=previous&compare_from=1": "compare", "group_by=app&compare_from=1": "compare_to",
		"group_by=app&compare_from=2&compare_to=2": "compare_from", "cursor=x": "cursor", "unknown=1": "unknown",
	} {
		t.Run(query, func(t *testing.T) {
			code := "invalid_request"
			if field == "cursor" {
				code = "invalid_cursor"
			}
			a := h.want(request{method: "GET", path: readRate + "?" + query, wrong: true}, 400, code)
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

// TestReadRateOfAllApps: rows of all apps stand for apps or times, and only the admin may ask.
func TestReadRateOfAllApps(t *testing.T) {
	h := newHarness(t)
	const path = "/v1/analytics/read-rate"
	for query, want := range map[string]projections.RateQuery{
		"from=1&to=2": {From: 1, To: 2, By: projections.ByApp, Limit: 100},
		"from=1&to=2&group_by=week&tz=Asia/Kolkata&sort=read_rate&min_messages=2": {From: 1, To: 2, By: projections.ByWeek, Zone: zone("Asia/Kolkata"), Sort: projections.SortRate, MinMessages: 2, Limit: 100},
	} {
		h.want(request{method: "GET", path: path + "?" + query}, 200, "")
		if got := h.analytics.asked(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: asked %+v, want %+v", query, got, want)
		}
	}
	for query, field := range map[string]string{
		"group_by=group": "group_by", "group_by=label": "group_by", "group=g1": "group", "sender=u": "sender", "label=x": "label", "message=m": "message",
	} {
		a := h.want(request{method: "GET", path: path + "?" + query, wrong: true}, 400, "invalid_request")
		if got := a.field(t, "error", "field"); got != field {
			t.Errorf("%s: field %v", query, got)
		}
	}
	h.want(request{method: "GET", path: path, token: h.token("alice")}, 403, "forbidden")
	h.analytics.rows, h.analytics.total = []projections.RateRow{{Key: testApp}}, 2
	cursor, _ := h.want(request{method: "GET", path: path + "?group_by=app&limit=1"}, 200, "").field(t, "next_cursor").(string)
	h.want(request{method: "GET", path: path + "?group_by=app&cursor=" + cursor}, 200, "")
	if q := h.analytics.asked(); q.Offset != 1 {
		t.Errorf("the next page begins at %d", q.Offset)
	}
	h.want(request{method: "GET", path: readRate + "?group_by=app&cursor=" + cursor, wrong: true}, 400, "invalid_request")
	a := h.want(request{method: "GET", path: path + "?limit=1", header: map[string]string{"Accept": "text/csv"}}, 200, "")
	if !strings.HasPrefix(string(a.body), "key,") || !strings.Contains(string(a.body), testApp) || a.header.Get("X-Total") != "2" || a.header.Get("X-Next-Cursor") == "" {
		t.Errorf("as CSV: %v\n%s", a.header, a.body)
	}
}

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

// TestReadRatePages goes from page to page: each is of the span of the first, and of its question.
func TestReadRatePages(t *testing.T) {
	h := newHarness(t)
	h.analytics.rows = []projections.RateRow{{Key: "a"}, {Key: "b"}}
	h.analytics.total = 5
	a := h.want(request{method: "GET", path: readRate + "?group_by=sender&limit=2"}, 200, "")
	first := h.analytics.asked()
	cursor, _ := a.field(t, "next_cursor").(string)
	if cursor == "" || a.field(t, "total") != 5. {
		t.Fatalf("got %s", a.body)
	}
	time.Sleep(2 * time.Millisecond) // now is another time
	a = h.want(request{method: "GET", path: readRate + "?group_by=sender&limit=3&cursor=" + cursor}, 200, "")
	if q := h.analytics.asked(); q.Offset != 2 || q.Limit != 3 || q.From != first.From || q.To != first.To {
		t.Errorf("after %+v it asked %+v", first, q)
	}
	if next, _ := a.field(t, "next_cursor").(string); next == "" || next == cursor {
		t.Errorf("the next page begins at %q", next)
	}
	h.analytics.total = 4
	if a = h.want(request{method: "GET", path: readRate + "?group_by=sender&limit=2&cursor=" + cursor}, 200, ""); a.field(t, "next_cursor") != "" {
		t.Errorf("after the last page: %s", a.body)
	}
	h.want(request{method: "GET", path: readRate + "?group_by=group&cursor=" + cursor, wrong: true}, 400, "invalid_request")
}

// TestReadRatesCompared: each row has what the other span has under its key, in whatever order.
func TestReadRatesCompared(t *testing.T) {
	h := newHarness(t)
	h.analytics.rows = []projections.RateRow{{Key: "a", CohortCounts: projections.CohortCounts{Messages: 2, Eligible: 4, Read: 1}}}
	a := h.want(request{method: "GET", path: readRate + "?group_by=group&from=2026-03-08&to=2026-03-15&compare=previous"}, 200, "")
	const week = 7 * 24 * projections.HourMillis
	march8 := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC).UnixMilli()
	if q := h.analytics.asked(); q.From != march8-week || q.To != march8 || !reflect.DeepEqual(q.Keys, []string{"a"}) {
		t.Errorf("asked %+v", q)
	}
	rows := a.field(t, "rows").([]any)
	if compared := rows[0].(map[string]any)["compared"].(map[string]any); compared["read_rate"] != 0.25 || a.field(t, "compared", "from") != "2026-03-01T00:00:00.000Z" {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: readRate + "?group_by=weekday_hour&compare_from=2026-01-01&compare_to=2026-01-08"}, 200, "")
	if q := h.analytics.asked(); q.To-q.From != week {
		t.Errorf("asked %+v", q)
	}
}

// TestReadRatesInLines: as CSV and as NDJSON, with what else there is to say in headers.
func TestReadRatesInLines(t *testing.T) {
	h := newHarness(t)
	h.analytics.rows = []projections.RateRow{{Key: `a "b", c`, CohortCounts: projections.CohortCounts{Messages: 2, Eligible: 4, Delivered: 1, Read: 1}, P50: 1.5, P90: 2, P99: 3, R50: projections.NotYet, R90: projections.NotYet}}
	h.analytics.total = 9
	a := h.want(request{method: "GET", path: readRate + "?group_by=group&limit=2000", header: map[string]string{"Accept": "text/csv"}}, 200, "")
	want := "key,messages,eligible,delivered,read,recalled,read_rate,p50_ms,p90_ms,p99_ms,recipients_p50_ms,recipients_p90_ms\r\n" +
		`"a ""b"", c",2,4,1,1,0,0.25,1.5,2,3,,` + "\r\n"
	if string(a.body) != want || a.header.Get("X-Total") != "9" || a.header.Get("X-Next-Cursor") == "" || a.header.Get("X-Source") != "clickhouse" {
		t.Errorf("got %q, %v", a.body, a.header)
	}
	a = h.want(request{method: "GET", path: readRate + "?group_by=group", header: map[string]string{"Accept": "application/x-ndjson, */*"}}, 200, "")
	if want := `{"key":"a \"b\", c","messages":2,"eligible":4,"delivered":1,"read":1,"recalled":0,"read_rate":0.25,"p50_ms":1.5,"p90_ms":2,"p99_ms":3,"recipients_p50_ms":null,"recipients_p90_ms":null}` + "\n"; string(a.body) != want {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: readRate + "?limit=2000", wrong: true}, 400, "invalid_request")
}

// TestKeysAreNoFormulas: a table that is opened by a program which computes has the names as text.
func TestKeysAreNoFormulas(t *testing.T) {
	h := newHarness(t)
	for key, want := range map[string]string{
		"=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)", "+1+1": "'+1+1", "-a": "'-a", "+": "'+", "+4912345": "+4912345", "-7": "-7", "ann": "ann", "a=b": "a=b",
	} {
		h.analytics.rows = []projections.RateRow{{Key: key}}
		a := h.want(request{method: "GET", path: readRate + "?group_by=sender", header: map[string]string{"Accept": "text/csv"}}, 200, "")
		_, row, _ := strings.Cut(string(a.body), "\r\n")
		if got, _, _ := strings.Cut(row, ","); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// TestFilesOfThePageAreThoseOfTheAPI: the page asks the same question as the API, and has the same
// lines.
func TestFilesOfThePageAreThoseOfTheAPI(t *testing.T) {
	h := newHarness(t)
	h.analytics.rows = []projections.RateRow{
		{Key: "2026-03-01T00:00:00Z", CohortCounts: projections.CohortCounts{Messages: 2, Eligible: 4, Read: 1}, P50: 1.5, R50: projections.NotYet, R90: projections.NotYet},
		{Key: "=1+1", CohortCounts: projections.CohortCounts{Messages: 3, Eligible: 4, Read: 3}, P50: 1.5, R50: 2, R90: projections.NotYet},
	}
	session := h.pageSession()
	const span = "&from=2026-03-01&to=2026-03-15&tz=Asia/Kolkata"
	for page, api := range map[string]string{
		"view=groups&order=worst&min=5":              "group_by=group&sort=read_rate&order=asc&min_messages=5",
		"view=senders&compare=previous&label=spring": "group_by=sender&sort=messages&compare=previous&label=spring",
		"view=labels&order=slow&group=g&min=1":       "group_by=label&sort=recipients_p50_ms&order=desc&group=g&min_messages=1",
		"view=messages&order=unread&sender=s&min=1":  "group_by=message&sort=not_read&sender=s&min_messages=1",
		"view=readers&order=read":                    "group_by=reader&sort=read&min_messages=1",
		"view=overview":                              "group_by=hour",
	} {
		for format, accept := range map[string]string{"csv": "text/csv", "ndjson": "application/x-ndjson"} {
			want := h.want(request{method: "GET", path: readRate + "?limit=100000&" + api + span, header: map[string]string{"Accept": accept}}, 200, "")
			asked := h.analytics.asked()
			got := h.want(request{method: "GET", path: "/?app=acme/chat&" + page + span + "&format=" + format, token: "-", header: session}, 200, "")
			if string(got.body) != string(want.body) {
				t.Errorf("%s: got\n%swant\n%s", page, got.body, want.body)
			}
			q := h.analytics.asked()
			q.Limit = asked.Limit // the page takes the span whole
			if !reflect.DeepEqual(q, asked) {
				t.Errorf("%s asked %+v, the API %+v", page, q, asked)
			}
		}
	}
}

// TestReadRatesThatNeedClickHouse are refused, saying what needs it.
func TestReadRatesThatNeedClickHouse(t *testing.T) {
	h := newHarness(t)
	for query, field := range map[string]string{
		"group_by=message": "group_by", "group_by=reader": "group_by", "message=m1": "message", "group_by=day&tz=Asia/Kolkata": "tz",
	} {
		asked := func() *projections.RateQuery {
			h.want(request{method: "GET", path: readRate + "?" + query}, 200, "")
			q := h.analytics.asked()
			return &q
		}()
		h.analytics.err = asked.BeyondRollup()
		a := h.want(request{method: "GET", path: readRate + "?" + query}, 400, "needs_clickhouse")
		if got := a.field(t, "error", "field"); got != field {
			t.Errorf("%s: field %v, want %s", query, got, field)
		}
		h.analytics.err = nil
	}
}
