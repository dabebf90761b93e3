package web

import (
	"fmt"
	"math"
	"slices"
)

// timeline is the steps of a span, with the names of these.
type timeline struct {
	*span
	*steps
	names, when []string
	// head names the column of the steps in a table.
	head string
}

func (t *timeline) plotted(in size, i int) bool { return t.labelled(t.named, in, i) }

func overviewFigures(s *span, x *steps) ([]figure, error) {
	t := timeline{span: s, steps: x, head: "Sent from (" + s.zone.String() + ")"}
	t.names, t.when = s.labels(x.named, x.begin)
	total := &x.total
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

// inZone says whose hours or days a drawing is of.
func (t *timeline) inZone() string {
	if t.step == hour {
		return "Hours of " + t.zone.String() + "."
	}
	return "Days of " + t.zone.String() + "."
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
	f := figure{ID: "rate", Title: "Read rate", Note: "Of the recipients of what was sent then, how many have read it by now. Recent messages still rise. " + t.inZone()}
	rates := make([]float64, len(t.sums))
	f.Table.Head = []string{t.head, "Recipients", "Read", "Read rate"}
	for i := range t.sums {
		c := &t.sums[i]
		rates[i] = missing()
		if c.Eligible > 0 {
			rates[i] = c.Rate()
			f.Table.Rows = append(f.Table.Rows, []string{t.when[i], count(c.Eligible), count(c.Read), percent(c.Rate())})
		}
	}
	slices.Reverse(f.Table.Rows)
	var err error
	f.Drawings, err = lines("Read rate by the time of sending, "+percent(total.Rate())+" over all.", plot{
		labels: t.names, labelled: t.plotted, series: [][]float64{rates}, format: percent, highest: 1, ticks: 5,
	})
	return f, err
}

func messagesOverTime(t *timeline, total *totals) (figure, error) {
	f := figure{ID: "messages", Title: "Messages", Note: "Messages that collect receipts, by the time of sending. " + t.inZone()}
	amounts := make([]float64, len(t.sums))
	f.Table.Head = []string{t.head, "Messages", "Recalled"}
	for i := range t.sums {
		amounts[i] = float64(t.sums[i].Messages)
		if t.sums[i].Messages > 0 || t.sums[i].Recalled > 0 {
			f.Table.Rows = append(f.Table.Rows, []string{t.when[i], count(t.sums[i].Messages), count(t.sums[i].Recalled)})
		}
	}
	slices.Reverse(f.Table.Rows)
	var err error
	f.Drawings, err = bars(count(total.Messages)+" messages by the time of sending.", plot{
		labels: t.names, labelled: t.plotted, series: [][]float64{amounts}, format: short,
	})
	return f, err
}

func timeToRead(total *totals) (figure, error) {
	if total.bins == nil {
		return figure{}, nil
	}
	f := figure{ID: "distribution", Title: "Time to read", Note: "How long readers took from sending to reading: each bar has those who took up to its time and longer than the bar before. Whoever has not read is in none."}
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
		ID: "percentiles", Title: "Time to read, over time", Note: "Of those who have read, by the time of sending, on a logarithmic scale. " + t.inZone(),
		Key: []string{"half of the readers", "9 of 10", "99 of 100"},
	}
	f.Table.Head = []string{t.head, "p50", "p90", "p99"}
	list := make([][]float64, len(f.Key))
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i := range t.sums {
		times, ok := t.sums[i].percentiles()
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
		labels: t.names, labelled: t.plotted, series: list, format: func(v float64) string { return millis(1000 * math.Pow(60, v)) },
		lowest: lowest, highest: highest, ticks: int(highest-lowest) + 1,
	})
	return f, err
}
