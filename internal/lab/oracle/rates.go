package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Rate is a row of a read-rate answer. Where the projections have percentiles, it has every time.
type Rate struct {
	Key string
	projections.CohortCounts
	Times []int64 // from sending to reading in milliseconds, ascending
}

// Cohort are the messages that collect receipts of one sender in one conversation in one UTC hour,
// with one label or without.
type Cohort struct {
	Hour         time.Time
	Conversation events.Conversation
	Sender       string
	Label        string
	projections.CohortCounts
	Times []int64 // from sending to reading in milliseconds, ascending
}

// Cohorts are all cohorts of the app that have a message, recalled or not, in no order.
func (m *Model) Cohorts(app string) []Cohort {
	type name struct {
		hour   time.Time
		sender string
		label  string
	}
	var all []Cohort
	for _, c := range m.conversations(app) {
		cohorts := map[name]*Cohort{}
		for _, msg := range c.messages {
			if !msg.collects() {
				continue
			}
			n := name{time.UnixMilli(msg.sentAt).UTC().Truncate(time.Hour), msg.from, msg.label}
			if cohorts[n] == nil {
				cohorts[n] = &Cohort{Hour: n.hour, Conversation: c.name, Sender: n.sender, Label: n.label}
			}
			cohorts[n].count(msg)
		}
		for _, x := range cohorts {
			slices.Sort(x.Times)
			all = append(all, *x)
		}
	}
	return all
}

func (x *Cohort) count(msg *message) {
	if msg.recalled {
		x.Recalled++
		return
	}
	shown := msg.view()
	x.Messages++
	x.Eligible += uint64(shown.Eligible)
	x.Delivered += uint64(shown.Delivered)
	x.Read += uint64(shown.Read)
	if msg.kind == counted {
		return // the times are not kept
	}
	for _, r := range msg.readers {
		x.Times = append(x.Times, r.ReadAt-msg.sentAt)
	}
}

// rated is a message that collects receipts, with what a read-rate query may ask of it.
type rated struct {
	*message
	app string
}

// rated are the messages of an app, or of all.
func (m *Model) rated(app string) (list []rated) {
	if app == "" {
		for _, app := range m.Apps() {
			list = append(list, m.rated(app)...)
		}
		return list
	}
	for _, c := range m.conversations(app) {
		for _, msg := range c.messages {
			if msg.collects() {
				list = append(list, rated{msg, app})
			}
		}
	}
	return list
}

// Rates answers a read-rate query, and says how many rows there are.
func (m *Model) Rates(q projections.RateQuery) (page []Rate, total int) {
	return rates(m.rated(q.App), q)
}

// Rates is [Model.Rates] over all partitions.
func (c *Cluster) Rates(q projections.RateQuery) (page []Rate, total int) {
	var all []rated
	for _, m := range c.Partitions {
		all = append(all, m.rated(q.App)...)
	}
	return rates(all, q)
}

func rates(list []rated, q projections.RateQuery) (page []Rate, total int) {
	byKey := map[string]*Rate{}
	row := func(key string) *Rate {
		if byKey[key] == nil {
			byKey[key] = &Rate{Key: key}
		}
		return byKey[key]
	}
	for _, msg := range list {
		if !msg.wanted(q) {
			continue
		}
		if q.By == projections.ByReader {
			msg.countReaders(row)
		} else if key, there := msg.key(q); there {
			row(key).count(msg.message)
		}
	}
	var rows []Rate
	for _, r := range byKey {
		slices.Sort(r.Times)
		if r.Messages >= q.MinMessages && (q.Keys == nil || slices.Contains(q.Keys, r.Key)) {
			rows = append(rows, *r)
		}
	}
	sortRates(rows, q)
	from := min(q.Offset, len(rows))
	return rows[from:min(len(rows), from+q.Limit)], len(rows)
}

// wanted reports whether a message is one of those that a query is for.
func (msg rated) wanted(q projections.RateQuery) bool {
	begins, ends := msg.sentAt, msg.sentAt+1
	if q.BeyondRollup() == nil { // whole hours
		hour := time.UnixMilli(msg.sentAt).UTC().Truncate(time.Hour)
		begins, ends = hour.UnixMilli(), hour.Add(time.Hour).UnixMilli()
	}
	return q.From < q.To && ends > q.From && q.To > begins &&
		(q.Group == "" || q.Group == msg.conversation.name.Group) &&
		(q.Sender == "" || q.Sender == msg.from) &&
		(q.Label == "" || q.Label == msg.label) &&
		(q.Messages == nil || slices.Contains(q.Messages, msg.id))
}

// key is the row that a message is counted in, if it is in any.
func (msg rated) key(q projections.RateQuery) (key string, there bool) {
	at := time.UnixMilli(msg.sentAt).UTC()
	if q.Zone != nil {
		at = at.In(q.Zone)
	}
	year, month, day := at.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, at.Location())
	switch q.By {
	case projections.ByHour:
		return at.UTC().Truncate(time.Hour).In(at.Location()).Format(time.RFC3339), true
	case projections.ByDay:
		return midnight.Format(time.RFC3339), true
	case projections.ByWeek:
		for midnight.Weekday() != time.Monday {
			midnight = time.Date(midnight.Year(), midnight.Month(), midnight.Day()-1, 0, 0, 0, 0, at.Location())
		}
		return midnight.Format(time.RFC3339), true
	case projections.ByWeekHour:
		weekday := int(at.Weekday())
		if weekday == 0 {
			weekday = 7
		}
		return fmt.Sprintf("%d-%02d", weekday, at.Hour()), true
	case projections.ByApp:
		return msg.app, true
	case projections.ByGroup:
		return msg.conversation.name.Group, msg.conversation.name.Group != ""
	case projections.ByLabel:
		return msg.label, msg.label != ""
	case projections.ByMessage:
		return msg.id, true
	}
	return msg.from, true
}

// count adds a message to a row.
func (r *Rate) count(msg *message) {
	x := Cohort{}
	x.count(msg)
	r.Add(x.CohortCounts)
	r.Times = append(r.Times, x.Times...)
}

// countReaders adds a message to the rows of those who could read it, if it is known who has.
func (msg rated) countReaders(row func(string) *Rate) {
	if msg.kind == counted {
		return
	}
	for _, user := range msg.eligible {
		r := row(user)
		r.Messages++
		r.Eligible++
		if msg.delivered && len(msg.readers) == 0 {
			r.Delivered++
		}
	}
	for _, reader := range msg.readers {
		r := row(reader.User)
		r.Read++
		r.Delivered++
		r.Times = append(r.Times, reader.ReadAt-msg.sentAt)
	}
}

// sortRates puts rows in the order of a query; what is equal in it in the order of the keys.
func sortRates(rows []Rate, q projections.RateQuery) {
	amount := map[projections.RateSort]func(r *Rate) float64{
		projections.SortMessages:  func(r *Rate) float64 { return float64(r.Messages) },
		projections.SortEligible:  func(r *Rate) float64 { return float64(r.Eligible) },
		projections.SortDelivered: func(r *Rate) float64 { return float64(r.Delivered) },
		projections.SortRead:      func(r *Rate) float64 { return float64(r.Read) },
		projections.SortNotRead:   func(r *Rate) float64 { return float64(r.Eligible) - float64(r.Read) },
		projections.SortRecalled:  func(r *Rate) float64 { return float64(r.Recalled) },
		projections.SortRate:      func(r *Rate) float64 { return r.Rate() },
	}[q.Sort]
	if q.Sort == projections.SortUsual && !q.By.InTime() {
		amount = func(r *Rate) float64 { return float64(r.Messages) }
	}
	slices.SortFunc(rows, func(a, b Rate) int {
		byKey := cmp.Compare(a.Key, b.Key)
		if amount == nil {
			if q.Reverse {
				return -byKey
			}
			return byKey
		}
		if none := a.Eligible == 0; q.Sort == projections.SortRate && none != (b.Eligible == 0) {
			if none {
				return 1
			}
			return -1
		}
		c := cmp.Compare(amount(&b), amount(&a))
		if q.Reverse {
			c = -c
		}
		return cmp.Or(c, byKey)
	})
}

// longest is the time as which all longer ones are told.
const longest = 1 << 37

// Differs says how a row of an answer differs from the model's; empty if it does not. A percentile
// may be off by 1 %.
func (r *Rate) Differs(got projections.RateRow) string {
	if got.Key != r.Key || got.CohortCounts != r.CohortCounts {
		return "the numbers"
	}
	for q, p := range map[float64]float64{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		want := int64(0)
		if n := len(r.Times); n > 0 {
			want = min(r.Times[int(q*float64(n-1))], longest)
		}
		if off := math.Abs(p - float64(want)); off > float64(want)/100 {
			return "a percentile"
		}
	}
	for part, ms := range map[float64]float64{0.5: got.R50, 0.9: got.R90} {
		want := r.reached(part)
		if off := math.Abs(ms - want); off > math.Abs(want)/100 {
			return "the time of a part of the recipients"
		}
	}
	return r.binsDiffer(got.Bins)
}

// reached is the shortest time within which a part of the eligible readers had read; -1 if fewer
// have, or there are none.
func (r *Rate) reached(part float64) float64 {
	if n := int(math.Ceil(part * float64(r.Eligible))); n > 0 && n <= len(r.Times) {
		return float64(min(r.Times[n-1], longest))
	}
	return -1
}

// binsDiffer is for a query that asked for the bins, where every time is to be in its own.
func (r *Rate) binsDiffer(got []projections.BinCount) string {
	times := r.Times
	for _, b := range got {
		if b.Count == 0 || b.Count > uint64(len(times)) {
			return "the bins"
		}
		for _, ms := range times[:b.Count] {
			if projections.TimeBin(ms) != b.Bin {
				return "the bins"
			}
		}
		times = times[b.Count:]
	}
	if got != nil && len(times) > 0 {
		return "the bins"
	}
	return ""
}
