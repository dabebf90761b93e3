package httpapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for machines that have no zones of their own

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const (
	// defaultRateSpan is how far back a query goes that does not say from when.
	defaultRateSpan = 24 * time.Hour
	// maxRateMessages is how many messages a query may name.
	maxRateMessages = 200
	// maxRateLines is the largest page in a format of lines.
	maxRateLines = 100_000
)

var rateGroupings = map[string]projections.RateBy{
	"hour": projections.ByHour, "day": projections.ByDay, "week": projections.ByWeek, "weekday_hour": projections.ByWeekHour,
	"app": projections.ByApp, "group": projections.ByGroup, "sender": projections.BySender, "label": projections.ByLabel,
	"message": projections.ByMessage, "reader": projections.ByReader,
}

// appGroupings are the rows there can be of all apps.
var appGroupings = map[string]projections.RateBy{
	"app": projections.ByApp, "hour": projections.ByHour, "day": projections.ByDay, "week": projections.ByWeek, "weekday_hour": projections.ByWeekHour,
}

var rateSorts = map[string]projections.RateSort{
	"key": projections.SortKey, "messages": projections.SortMessages, "eligible": projections.SortEligible,
	"delivered": projections.SortDelivered, "read": projections.SortRead, "not_read": projections.SortNotRead,
	"recalled": projections.SortRecalled, "read_rate": projections.SortRate,
	"p50_ms": projections.SortP50, "p90_ms": projections.SortP90, "p99_ms": projections.SortP99,
	"recipients_p50_ms": projections.SortR50, "recipients_p90_ms": projections.SortR90,
}

// rateQuestion is a request for read rates, read.
type rateQuestion struct {
	query    projections.RateQuery
	compared *rateBounds
	format   rateFormat
	// identity tells the question from others, whatever page of it is asked for.
	identity uint64
}

type rateBounds struct{ from, to int64 }

// rateQuery reads the parameters of a read-rate query, which is about the app of the path or, where
// that has none, about all.
func (a *API) rateQuery(c *call, now time.Time) (*rateQuestion, error) {
	params := c.r.URL.Query()
	asked := &rateQuestion{format: rateFormatOf(c.r.Header.Get("Accept"))}
	q := &asked.query
	q.App, q.Group, q.Sender, q.Label, q.Messages = c.app, params.Get("group"), params.Get("sender"), params.Get("label"), params["message"]
	for _, step := range []func(url.Values) error{
		asked.readNames, asked.readRows,
		func(params url.Values) error { return asked.readSpans(params, now) },
	} {
		if err := step(params); err != nil {
			return nil, err
		}
	}
	return asked, a.readRatePage(c, asked, params)
}

// readNames reads what the messages are narrowed to.
func (asked *rateQuestion) readNames(params url.Values) error {
	q := &asked.query
	for _, id := range []struct{ name, value string }{{"group", q.Group}, {"sender", q.Sender}} {
		if problem := events.IDProblem(id.value); params.Has(id.name) && problem != "" {
			return invalid(id.name, problem)
		}
	}
	if problem := events.LabelProblem(q.Label); params.Has("label") && problem != "" {
		return invalid("label", problem)
	}
	if len(q.Messages) > maxRateMessages {
		return invalid("message", fmt.Sprintf("%d messages, at most %d", len(q.Messages), maxRateMessages))
	}
	for _, id := range q.Messages {
		if problem := events.IDProblem(id); problem != "" {
			return invalid("message", problem)
		}
	}
	return nil
}

// readRows reads what rows are wanted, and in which order.
func (asked *rateQuestion) readRows(params url.Values) (err error) {
	q := &asked.query
	groupings := rateGroupings
	if q.App == "" {
		groupings = appGroupings
	}
	if q.By, err = oneOf(params, "group_by", groupings); err != nil {
		return err
	}
	if q.App == "" && !params.Has("group_by") {
		q.By = projections.ByApp
	}
	if q.Sort, err = oneOf(params, "sort", rateSorts); err != nil {
		return err
	}
	order, err := oneOf(params, "order", map[string]int{"asc": 1, "desc": -1})
	if err != nil {
		return err
	}
	usual := -1
	if q.Sort == projections.SortKey || q.Sort.OfTimes() || q.Sort == projections.SortUsual && q.By.InTime() {
		usual = 1
	}
	q.Reverse = order == -usual
	if params.Has("min_messages") {
		if q.MinMessages, err = strconv.ParseUint(params.Get("min_messages"), 10, 63); err != nil {
			return invalid("min_messages", "not a number")
		}
	}
	if zone := params.Get("tz"); params.Has("tz") {
		if q.Zone, err = time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
			return invalid("tz", "not a time zone of the IANA database, such as Asia/Kolkata")
		}
		if zone == "UTC" {
			q.Zone = nil
		}
	}
	return nil
}

// oneOf reads a parameter that has one of some names for values; the zero value if it is not there.
func oneOf[T any](params url.Values, name string, values map[string]T) (v T, err error) {
	if !params.Has(name) {
		return v, nil
	}
	v, known := values[params.Get(name)]
	if !known {
		return v, invalid(name, "none of "+strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return v, nil
}

// readSpans reads when the messages were sent, and what that is compared with.
func (asked *rateQuestion) readSpans(params url.Values, now time.Time) (err error) {
	q := &asked.query
	zone := time.UTC
	if q.Zone != nil {
		zone = q.Zone
	}
	if q.To, err = timeParam(params, "to", zone, now.UnixMilli()); err != nil {
		return err
	}
	from := q.To - defaultRateSpan.Milliseconds()
	if q.Messages != nil {
		from = min(0, q.To-1) // whenever they were sent
	}
	if q.From, err = timeParam(params, "from", zone, from); err != nil {
		return err
	}
	if q.From >= q.To {
		return invalid("from", "not before to")
	}
	previous, err := oneOf(params, "compare", map[string]bool{"previous": true})
	if err != nil {
		return err
	}
	named := params.Has("compare_from") || params.Has("compare_to")
	switch {
	case !previous && !named:
		return nil
	case previous && named:
		return invalid("compare", "not beside compare_from and compare_to")
	case q.By == projections.ByHour || q.By == projections.ByDay || q.By == projections.ByWeek:
		return invalid("group_by", "rows by hour, day and week have nothing to be compared with: group by app, weekday_hour or what is not a time")
	}
	other := rateBounds{q.From - (q.To - q.From), q.From}
	if named {
		for _, bound := range []struct {
			name string
			to   *int64
		}{{"compare_from", &other.from}, {"compare_to", &other.to}} {
			if !params.Has(bound.name) {
				return invalid(bound.name, "missing")
			}
			if *bound.to, err = timeParam(params, bound.name, zone, 0); err != nil {
				return err
			}
		}
		if other.from >= other.to {
			return invalid("compare_from", "not before compare_to")
		}
	}
	asked.compared = &other
	return nil
}

// readRatePage reads which page is wanted. A cursor has the span of the first page, which may have
// been until then.
func (a *API) readRatePage(c *call, asked *rateQuestion, params url.Values) error {
	q := &asked.query
	most := maxLimit
	if asked.format != rateJSON {
		most = maxRateLines
	}
	var err error
	if q.Limit, err = c.limitOf(most); err != nil {
		return err
	}
	params.Del("cursor")
	params.Del("limit")
	h := fnv.New64a()
	_, _ = h.Write([]byte(q.App + "?"))
	_, _ = h.Write([]byte(params.Encode()))
	asked.identity = h.Sum64()
	place, err := a.placeIn(c, listRates)
	if err != nil || place == "" {
		return err
	}
	r := place
	var numbers [3]int64
	for i := range numbers {
		v, n := binary.Varint([]byte(r))
		if n <= 0 {
			return invalidCursor("cursor")
		}
		numbers[i], r = v, r[n:]
	}
	if len(r) != 8 || numbers[0] < 1 || numbers[0] > 1<<31 || numbers[1] >= numbers[2] || numbers[1] < earliestFrom || numbers[2] > latestTime {
		return invalidCursor("cursor")
	}
	if binary.BigEndian.Uint64([]byte(r)) != asked.identity {
		return invalid("cursor", "of another question: only limit may change from one page to the next")
	}
	q.Offset, q.From, q.To = int(numbers[0]), numbers[1], numbers[2]
	return nil
}

// place is where a page begins, for its cursor.
func (asked *rateQuestion) place(offset int) string {
	q := &asked.query
	b := binary.AppendVarint(nil, int64(offset))
	b = binary.AppendVarint(binary.AppendVarint(b, q.From), q.To)
	return string(binary.BigEndian.AppendUint64(b, asked.identity))
}

// refused is the answer where a query was not answered.
func (asked *rateQuestion) refused(err error) error {
	beyond, ok := errors.AsType[*projections.BeyondRollupError](err)
	if !ok {
		return err
	}
	field := "group_by"
	switch {
	case beyond.What == projections.BeyondMessages:
		field = "message"
	case beyond.What == projections.BeyondZone:
		field = "tz"
	}
	return newFieldError(http.StatusBadRequest, "needs_clickhouse", field,
		beyond.What+" need ClickHouse, which this server does not have (--clickhouse)").because(err)
}

// Nothing was sent before 1970 or after 9999: a query from or to a time beyond is one from or to
// these, a day before 1970 so that its first date may begin in any zone. So "all there is" may be
// asked for with any numbers, and the hours that a span is widened to do not wrap around.
var (
	earliestTime = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()
	latestTime   = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
	// earliestFrom is where the span of a query begins that ends with the first time and does not
	// say from when.
	earliestFrom = earliestTime - defaultRateSpan.Milliseconds()
)

// timeParam reads a time as Unix milliseconds. A date is its first moment in a zone.
func timeParam(params url.Values, name string, zone *time.Location, unless int64) (int64, error) {
	if !params.Has(name) {
		return unless, nil
	}
	text := params.Get(name)
	if date, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return clamped(date.UnixMilli()), nil
	}
	// A plus sign that was not escaped, as in +08:00, arrives as a space.
	ms, ok := events.ParseTime(strings.ReplaceAll(text, " ", "+"))
	if !ok {
		return 0, invalid(name, "no date, RFC 3339 or whole Unix milliseconds")
	}
	return clamped(ms), nil
}

func clamped(ms int64) int64 { return min(max(ms, earliestTime), latestTime) }
