package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// filter is what a view counts of an app's messages, as the address says it.
type filter struct {
	Span span
	// Zone is the name of the time zone that days and hours are of.
	Zone string
	// Compare: beside the span stands the one before.
	Compare bool
	// Group, Sender and Label are what it is narrowed to; empty is everything.
	Group, Sender, Label string
	// Least is the number of messages from which on a row counts.
	Least uint64
}

// zones are offered; every other one of the IANA database can be typed in.
var zones = []string{
	"UTC", "America/Los_Angeles", "America/Denver", "America/Chicago", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
	"Europe/London", "Europe/Berlin", "Europe/Istanbul", "Africa/Lagos", "Africa/Johannesburg", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata",
	"Asia/Kathmandu", "Asia/Dhaka", "Asia/Jakarta", "Asia/Singapore", "Asia/Shanghai", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland",
}

// newFilter reads a filter. With the problem, which is nil if all can be read, it returns what can.
func newFilter(query url.Values, now time.Time) (filter, *problem) {
	f := filter{Zone: "UTC", Compare: query.Get("compare") == "previous", Group: query.Get("group"), Sender: query.Get("sender"), Label: query.Get("label")}
	var wrong *problem
	refuse := func(sentence string) {
		if wrong == nil {
			wrong = &problem{http.StatusBadRequest, "This cannot be counted", sentence}
		}
	}
	zone := time.UTC
	if name := query.Get("tz"); name != "" && name != "UTC" {
		if found, err := time.LoadLocation(name); err == nil && name != "Local" {
			f.Zone, zone = name, found
		} else {
			refuse("There is no time zone of this name. It is one of the IANA database, such as Asia/Kolkata.")
		}
	}
	f.Span = upToNow(presetOf(query.Get("span")), now, zone)
	if first, end := query.Get("from"), query.Get("to"); first != "" || end != "" {
		if s, sentence := dates(first, end, now, zone); sentence == "" {
			f.Span = s
		} else {
			refuse(sentence)
		}
	}
	for _, id := range []string{f.Group, f.Sender} {
		if id != "" && events.IDProblem(id) != "" {
			refuse("What the numbers are to be narrowed to is not an id.")
		}
	}
	if f.Label != "" && events.LabelProblem(f.Label) != "" {
		refuse("What the numbers are to be narrowed to is not a label.")
	}
	if least := query.Get("min"); least != "" {
		var err error
		if f.Least, err = strconv.ParseUint(least, 10, 63); err != nil {
			refuse("The least number of messages is not a number.")
		}
	}
	return f, wrong
}

// dates is the span from the first moment of one date to that of another, as in GET
// …/analytics/read-rate. Without the first one it is the day before the end, without the end it is
// up to now.
func dates(first, end string, now time.Time, zone *time.Location) (s span, refused string) {
	parse := func(text string, unless time.Time) time.Time {
		if text == "" {
			return unless
		}
		t, err := time.ParseInLocation(time.DateOnly, text, zone)
		if err != nil || t.Year() < 1970 {
			refused = "A date is written as 2026-03-01, and is not before 1970."
		}
		return t
	}
	to := parse(end, hour.after(hour.beginning(now), 1))
	from := parse(first, to.Add(-24*time.Hour))
	switch {
	case refused != "":
		return s, refused
	case !from.Before(to):
		return s, "The span ends before it begins: from has to be before to."
	}
	if s = between(from, to, zone); len(s.starts(false)) > maxSteps {
		return s, "The span is too long to be drawn: choose one of at most ten years."
	}
	s.First, s.End = first, end
	return s, ""
}

// maxSteps are the steps of the longest span, in weeks.
const maxSteps = 525

// Narrowed reports whether the numbers are narrowed down.
func (f *filter) Narrowed() bool { return f.Group != "" || f.Sender != "" || f.Label != "" }

// narrow adds to a question what the numbers are narrowed to.
func (f *filter) narrow(q projections.RateQuery) projections.RateQuery {
	q.Group, q.Sender, q.Label = f.Group, f.Sender, f.Label
	return q
}

// query asks for rows of the span that the view counts.
func (f *filter) query(app string, by projections.RateBy, limit int) projections.RateQuery {
	return f.narrow(f.Span.query(app, by, limit))
}

// address puts the span, the zone and the comparison into the parameters of a link.
func (f *filter) address(q url.Values) {
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Span.Custom() {
		set("from", f.Span.First)
		set("to", f.Span.End)
	} else if f.Span.Name != presets[0].Name {
		set("span", f.Span.Name)
	}
	if f.Zone != "UTC" {
		set("tz", f.Zone)
	}
	if f.Compare {
		set("compare", "previous")
	}
}

// narrowing puts what the numbers are narrowed to into the parameters of a link.
func (f *filter) narrowing(q url.Values) {
	for name, value := range map[string]string{"group": f.Group, "sender": f.Sender, "label": f.Label} {
		if value != "" {
			q.Set(name, value)
		}
	}
}
