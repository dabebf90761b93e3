package oracle

import (
	"cmp"
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

// Cohort are the tracked messages of one sender in one conversation in one UTC hour.
type Cohort struct {
	Hour         time.Time
	Conversation events.Conversation
	Sender       string
	projections.CohortCounts
	Times []int64 // from sending to reading in milliseconds, ascending
}

// Cohorts are all cohorts of the app that have a message, recalled or not, in no order.
func (m *Model) Cohorts(app string) []Cohort {
	type name struct {
		hour   time.Time
		sender string
	}
	var all []Cohort
	for _, c := range m.conversations(app) {
		cohorts := map[name]*Cohort{}
		for _, msg := range c.messages {
			if msg.kind != tracked {
				continue
			}
			n := name{time.UnixMilli(msg.sentAt).UTC().Truncate(time.Hour), msg.from}
			if cohorts[n] == nil {
				cohorts[n] = &Cohort{Hour: n.hour, Conversation: c.name, Sender: n.sender}
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
	for _, r := range msg.readers {
		x.Times = append(x.Times, r.ReadAt-msg.sentAt)
	}
}

// Rates answers a read-rate query.
func (m *Model) Rates(q projections.RateQuery) []Rate { return rates(m.Cohorts(q.App), q) }

// Rates is [Model.Rates] over all partitions.
func (c *Cluster) Rates(q projections.RateQuery) []Rate {
	var all []Cohort
	for _, m := range c.Partitions {
		all = append(all, m.Cohorts(q.App)...)
	}
	return rates(all, q)
}

func rates(cohorts []Cohort, q projections.RateQuery) []Rate {
	byKey := map[string]*Rate{}
	for _, x := range cohorts {
		begins, ends := x.Hour.UnixMilli(), x.Hour.Add(time.Hour).UnixMilli()
		if q.From >= q.To || ends <= q.From || q.To <= begins {
			continue
		}
		if q.Group != "" && q.Group != x.Conversation.Group || q.Sender != "" && q.Sender != x.Sender {
			continue
		}
		key := x.Hour.Format(time.RFC3339)
		switch q.By {
		case projections.ByDay:
			key = x.Hour.Truncate(24 * time.Hour).Format(time.RFC3339)
		case projections.ByGroup:
			if key = x.Conversation.Group; key == "" {
				continue
			}
		case projections.BySender:
			key = x.Sender
		}
		if byKey[key] == nil {
			byKey[key] = &Rate{Key: key}
		}
		byKey[key].Add(x.CohortCounts)
		byKey[key].Times = append(byKey[key].Times, x.Times...)
	}
	var rows []Rate
	for _, r := range byKey {
		slices.Sort(r.Times)
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b Rate) int {
		if q.By == projections.ByHour || q.By == projections.ByDay {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(-cmp.Compare(a.Messages, b.Messages), cmp.Compare(a.Key, b.Key))
	})
	return rows[:min(len(rows), q.Limit)]
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
