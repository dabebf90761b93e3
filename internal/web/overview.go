package web

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// maxHours has room for the hours of the longest span.
const maxHours = 1000

// overviewView is how an app's messages are read.
type overviewView struct {
	// Group and Sender are what it is narrowed to, if it is.
	Group, Sender string
	Empty         bool
	Total         projections.CohortCounts
	Share         string
	// Delivered is empty if it is what was read: groups have no delivery receipts.
	Delivered string
	// HalfOfAll is within which time half of the recipients have read, Median and P99 are of those
	// who have.
	HalfOfAll, Median, P99 string
	Figures                []figure
}

// Narrowed reports whether the numbers are narrowed down.
func (v *overviewView) Narrowed() bool { return v.Group != "" || v.Sender != "" }

func (v *overviewView) nothing() bool { return v.Empty }

func (p *Page) overview(rq *request) (any, error) {
	v := &overviewView{Group: rq.query.Get("group"), Sender: rq.query.Get("sender"), HalfOfAll: "–", Median: "–", P99: "–"}
	if (v.Group != "" && events.IDProblem(v.Group) != "") || (v.Sender != "" && events.IDProblem(v.Sender) != "") {
		return nil, &problem{http.StatusBadRequest, "No such id", "What the numbers are to be narrowed to is not an id."}
	}
	now := p.cfg.Now()
	q := rq.span.query(now, rq.key, rq.span.by(), maxHours)
	q.Group, q.Sender, q.Bins = v.Group, v.Sender, true
	rows, err := p.cfg.Rates.ReadRates(rq.Context(), q)
	if err != nil {
		return nil, fmt.Errorf("read rates: %w", err)
	}
	steps, total, err := rq.span.group(now, rows)
	if err != nil {
		return nil, err
	}
	v.Total, v.Empty = total.CohortCounts, total.Messages == 0
	if v.Empty {
		return v, nil
	}
	v.Share = percent(total.Rate())
	if total.Delivered > total.Read {
		v.Delivered = percent(ratio(total.Delivered, total.Eligible))
	}
	if times, read := total.percentiles(); read {
		v.Median, v.P99 = millis(times[0]), millis(times[2])
		v.HalfOfAll, _ = total.reached(5)
	}
	v.Figures, err = p.overviewFigures(rq.span, steps, &total)
	return v, err
}

// timeline is the steps of a span, with their starts and the names of these.
type timeline struct {
	span
	steps        []totals
	starts       []time.Time
	labels, when []string
}

// labelled has labels at round times, and none at the very end, which would stand over the one
// before.
func (t *timeline) labelled(s size, i int) bool {
	every := t.labelHours
	if s == narrow {
		every = t.labelNarrow
	}
	return i < len(t.starts)-1 && t.starts[i].Unix()/3600%every == 0
}

func (p *Page) overviewFigures(s span, steps []totals, total *totals) ([]figure, error) {
	t := timeline{span: s, steps: steps, starts: s.starts(p.cfg.Now())}
	for _, at := range t.starts {
		t.labels, t.when = append(t.labels, at.Format(s.format)), append(t.when, at.Format("Jan 2, 15:04"))
	}
	var figures []figure
	for _, show := range []func() (figure, error){
		func() (figure, error) { return funnel(total) },
		func() (figure, error) { return readRate(&t, total) },
		func() (figure, error) { return timeToRead(total) },
		func() (figure, error) { return percentilesOverTime(&t) },
		func() (figure, error) { return messagesOverTime(&t, total) },
	} {
		f, err := show()
		if err != nil {
			return nil, err
		}
		if f.ID != "" {
			figures = append(figures, f)
		}
	}
	return figures, nil
}

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func funnel(total *totals) (figure, error) {
	f := figure{ID: "funnel", Title: "From sent to read", Note: "Each recipient of each message counts once."}
	type stage struct {
		name string
		n    uint64
	}
	stages := []stage{{"Sent to", total.Eligible}, {"Read", total.Read}}
	says := fmt.Sprintf("Of %s recipients, %s have read.", count(total.Eligible), percent(total.Rate()))
	if total.Delivered > total.Read {
		f.Note += " Groups have no delivery receipts: there, only what is read counts as delivered."
		stages = slices.Insert(stages, 1, stage{"Delivered", total.Delivered})
		says = fmt.Sprintf("Of %s recipients, %s were reached and %s have read.", count(total.Eligible),
			percent(ratio(total.Delivered, total.Eligible)), percent(total.Rate()))
	}
	var names []string
	var amounts []float64
	f.Table.Head = []string{"Stage", "Recipients", "Of all"}
	for _, s := range stages {
		share := percent(ratio(s.n, total.Eligible))
		names, amounts = append(names, s.name), append(amounts, float64(s.n))
		f.Table.Rows = append(f.Table.Rows, []string{s.name, count(s.n), share})
	}
	// The drawing has the first at the bottom.
	slices.Reverse(names)
	slices.Reverse(amounts)
	var err error
	f.Drawings, err = ranks(says,
		plot{
			labels: names, series: [][]float64{amounts}, highest: float64(max(total.Eligible, 1)),
			format: func(v float64) string {
				return count(uint64(v)) + space + "·" + space + percent(ratio(uint64(v), total.Eligible))
			},
		})
	return f, err
}

func readRate(t *timeline, total *totals) (figure, error) {
	f := figure{ID: "rate", Title: "Read rate", Note: "Of the recipients of what was sent then, how many have read it by now. Recent messages still rise."}
	rates := make([]float64, len(t.steps))
	f.Table.Head = []string{"Sent from (UTC)", "Recipients", "Read", "Read rate"}
	for i := range t.steps {
		c := &t.steps[i]
		rates[i] = missing()
		if c.Eligible > 0 {
			rates[i] = c.Rate()
			f.Table.Rows = append(f.Table.Rows, []string{t.when[i], count(c.Eligible), count(c.Read), percent(c.Rate())})
		}
	}
	slices.Reverse(f.Table.Rows)
	var err error
	f.Drawings, err = lines("Read rate by the time of sending, "+percent(total.Rate())+" over all.", plot{
		labels: t.labels, labelled: t.labelled, series: [][]float64{rates}, format: percent, highest: 1, ticks: 5,
	})
	return f, err
}

func messagesOverTime(t *timeline, total *totals) (figure, error) {
	f := figure{ID: "messages", Title: "Messages", Note: "Messages that collect receipts, by the time of sending."}
	amounts := make([]float64, len(t.steps))
	f.Table.Head = []string{"Sent from (UTC)", "Messages", "Recalled"}
	for i := range t.steps {
		amounts[i] = float64(t.steps[i].Messages)
		if t.steps[i].Messages > 0 || t.steps[i].Recalled > 0 {
			f.Table.Rows = append(f.Table.Rows, []string{t.when[i], count(t.steps[i].Messages), count(t.steps[i].Recalled)})
		}
	}
	slices.Reverse(f.Table.Rows)
	var err error
	f.Drawings, err = bars(count(total.Messages)+" messages by the time of sending.", plot{
		labels: t.labels, labelled: t.labelled, series: [][]float64{amounts}, format: short,
	})
	return f, err
}

func timeToRead(total *totals) (figure, error) {
	if total.bins == nil {
		return figure{}, nil
	}
	f := figure{ID: "distribution", Title: "Time to read", Note: "How long readers took from sending to reading: each bar has those who took up to its time and longer than the bar before. Who has not read is in none."}
	buckets := total.histogram()
	f.Table.Head = []string{"Read within", "Readers", "Of all readers", "Together"}
	labels, shares := make([]string, len(buckets)), make([]float64, len(buckets))
	var together uint64
	for i, l := range buckets {
		together += l.reads
		labels[i], shares[i] = l.label, ratio(l.reads, total.Read)
		f.Table.Rows = append(f.Table.Rows, []string{l.label, count(l.reads), percent(shares[i]), percent(ratio(together, total.Read))})
	}
	var err error
	f.Drawings, err = bars("Readers by how long they took, as the table says.", plot{
		labels: labels, labelled: func(s size, i int) bool { return s != narrow || len(labels) <= 6 || i%3 == 0 },
		series: [][]float64{shares}, format: percent, shares: true,
	})
	return f, err
}

func percentilesOverTime(t *timeline) (figure, error) {
	f := figure{
		ID: "percentiles", Title: "Time to read, over time", Note: "Of those who have read, by the time of sending, on a logarithmic scale.",
		Key: []string{"half of the readers", "9 of 10", "99 of 100"},
	}
	f.Table.Head = []string{"Sent from (UTC)", "p50", "p90", "p99"}
	list := make([][]float64, len(f.Key))
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i := range t.steps {
		times, ok := t.steps[i].percentiles()
		for k := range list {
			v := missing()
			if ok {
				v = math.Log(max(times[k], 1)/1000) / math.Log(60)
				lowest, highest = min(lowest, v), max(highest, v)
			}
			list[k] = append(list[k], v)
		}
		if ok {
			f.Table.Rows = append(f.Table.Rows, []string{t.when[i], millis(times[0]), millis(times[1]), millis(times[2])})
		}
	}
	if f.Table.Rows == nil {
		return figure{}, nil
	}
	slices.Reverse(f.Table.Rows)
	lowest, highest = math.Floor(lowest), max(math.Ceil(highest), math.Floor(lowest)+1)
	var err error
	f.Drawings, err = lines("Percentiles of the time to read by the time of sending, as the table says.", plot{
		labels: t.labels, labelled: t.labelled, series: list, format: func(v float64) string { return millis(1000 * math.Pow(60, v)) },
		lowest: lowest, highest: highest, ticks: int(highest-lowest) + 1,
	})
	return f, err
}
