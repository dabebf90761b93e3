package web

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Status is how the server is, over all apps.
type Status struct {
	Version string
	Uptime  time.Duration
	// Problem says what keeps the server from being ready; empty if nothing does.
	Problem string
	// Accepted counts the events taken over HTTP since the start.
	Accepted uint64
	// Streams are the open event streams.
	Streams    int
	Partitions []PartitionStatus
	// Scrub says in a few words what reading all files through has come to; empty if nothing
	// does that.
	Scrub string
	// DeadLetters is what NATS clients published lately and had no effect, newest first. It is
	// shown only to those who are signed in.
	DeadLetters []DeadLetter
}

// DeadLetter is an entry of the log without effect.
type DeadLetter struct {
	// When is the time in RFC 3339, Subject what it was published to by the server's mapping, and
	// Data what it holds.
	When, Reason, Subject, Data string
}

// PartitionStatus is how far one partition is. Events count since the start of the process.
type PartitionStatus struct {
	Partition int
	// Elsewhere is set if other nodes fold it, and not this one.
	Elsewhere bool
	// Stored and Applied are the last sequence in the log and the last one folded.
	Stored, Applied uint64
	// Appended are the events this process stored, Folded those it decided, Queued those that wait
	// for the log.
	Appended, Folded, Queued uint64
	// Ack is how long the last append took to be durable.
	Ack time.Duration
}

// lag is how many entries are stored and not folded yet; 0 if that is another node's matter.
func (p *PartitionStatus) lag() uint64 {
	if p.Elsewhere {
		return 0
	}
	return p.Stored - min(p.Stored, p.Applied)
}

const (
	// sampleEvery is how often a sample of the status is taken, and how often the page asks for it.
	sampleEvery = 2 * time.Second
	// maxSamples go back ten minutes.
	maxSamples = 300
)

// sample is the sums over the partitions at one time.
type sample struct {
	at                    time.Time
	appended, folded, lag uint64
}

// sampler keeps the latest samples.
type sampler struct {
	status func() Status
	now    func() time.Time

	mu      sync.Mutex
	samples []sample // oldest first
}

// run takes samples until the context ends.
func (s *sampler) run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		s.take()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *sampler) take() {
	x := sample{at: s.now()}
	status := s.status()
	for i := range status.Partitions {
		p := &status.Partitions[i]
		x.appended += p.Appended
		x.folded += p.Folded
		x.lag += p.lag()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == maxSamples {
		copy(s.samples, s.samples[1:])
		s.samples = s.samples[:maxSamples-1]
	}
	s.samples = append(s.samples, x)
}

// history is what happened lately, at as many moments as there are samples, the last one now. Rates
// are per second; unknown values are missing().
type history struct {
	upto                  time.Time // of the last sample
	labels                []string
	appended, folded, lag []float64
}

func (s *sampler) history() history {
	s.mu.Lock()
	defer s.mu.Unlock()
	var h history
	if n := len(s.samples); n > 0 {
		h.upto = s.samples[n-1].at
	}
	for i := range maxSamples {
		ago := time.Duration(maxSamples-1-i) * sampleEvery
		label := "now"
		switch {
		case ago > 0 && ago%time.Minute == 0:
			label = fmt.Sprintf("−%d%smin", int(ago.Minutes()), space)
		case ago > 0:
			label = fmt.Sprintf("−%d:%02d", int(ago.Minutes()), int(ago.Seconds())%60)
		}
		h.labels = append(h.labels, label)
		k := i - (maxSamples - len(s.samples))
		if k < 1 {
			h.appended, h.folded, h.lag = append(h.appended, missing()), append(h.folded, missing()), append(h.lag, missing())
			continue
		}
		before, x := s.samples[k-1], s.samples[k]
		seconds := x.at.Sub(before.at).Seconds()
		h.appended = append(h.appended, perSecond(before.appended, x.appended, seconds))
		h.folded = append(h.folded, perSecond(before.folded, x.folded, seconds))
		h.lag = append(h.lag, float64(x.lag))
	}
	return h
}

// perSecond is the rate of a counter. A counter starts again from zero when a replayed state takes
// over.
func perSecond(before, after uint64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(after-min(before, after)) / seconds
}

// liveView is what the start page shows of the whole server.
type liveView struct {
	Status
	Uptime           string
	Rate, Lag        string
	Ack              string
	Accepted         string
	Throughput       figure
	LagFigure        figure
	PartitionsTable  table
	DeadLettersTable table // without rows if there is nothing to show
}

func (p *Page) live() (*liveView, error) {
	status := p.cfg.Status()
	v := &liveView{Status: status, Uptime: uptime(status.Uptime), Accepted: count(status.Accepted)}
	v.PartitionsTable.Head = []string{"Partition", "Entries in the log", "Folded", "Behind", "Queued events", "Last sync"}
	var lag uint64
	var slowest time.Duration
	for i := range status.Partitions {
		x := &status.Partitions[i]
		lag += x.lag()
		slowest = max(slowest, x.Ack)
		v.PartitionsTable.Rows = append(v.PartitionsTable.Rows, []string{
			count(x.Partition), count(x.Stored), count(x.Applied), count(x.lag()), count(x.Queued), ack(x.Ack),
		})
	}
	v.DeadLettersTable.Head = []string{"Published", "Why it has no effect", "Subject in the log", "Data"}
	for _, x := range status.DeadLetters {
		v.DeadLettersTable.Rows = append(v.DeadLettersTable.Rows, []string{x.When, x.Reason, x.Subject, clip(x.Data)})
	}
	v.Lag, v.Ack = count(lag), ack(slowest)
	recent, err := p.recent()
	if err != nil {
		return nil, err
	}
	v.Rate, v.Throughput, v.LagFigure = recent.rate, recent.throughput, recent.lag
	return v, nil
}

// maxShownData bounds what is shown of what somebody published, in characters.
const maxShownData = 200

func clip(text string) string {
	if r := []rune(text); len(r) > maxShownData {
		return string(r[:maxShownData]) + "…"
	}
	return text
}

// recent are the figures of the history. They are drawn once per sample, however many people look:
// this is the one view that requires no session.
type recent struct {
	upto            time.Time
	rate            string
	throughput, lag figure
}

func (p *Page) recent() (recent, error) {
	p.drawing.Lock()
	defer p.drawing.Unlock()
	h := p.samples.history()
	if p.drawn.rate != "" && p.drawn.upto.Equal(h.upto) {
		return p.drawn, nil
	}
	r := recent{upto: h.upto, rate: "–"}
	if last := h.folded[maxSamples-1]; last != missing() {
		r.rate = short(last)
	}
	var err error
	if r.throughput, err = throughput(h, r.rate); err != nil {
		return r, err
	}
	if r.lag, err = lagFigure(h); err != nil {
		return r, err
	}
	p.drawn = r
	return r, nil
}

func ack(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return millis(float64(d) / float64(time.Millisecond))
}

// liveLabelled has a label every two minutes, or four.
func liveLabelled(s size, i int) bool {
	step := int(2 * time.Minute / sampleEvery)
	if s == narrow {
		step *= 2
	}
	return (maxSamples-1-i)%step == 0
}

func throughput(h history, now string) (figure, error) {
	f := figure{
		ID: "throughput", Title: "Throughput", Note: "Events a second, over the last ten minutes.",
		Key:   []string{"stored by this process", "folded"},
		Table: h.table([]string{"When", "Stored", "Folded"}, h.appended, h.folded),
	}
	var err error
	f.Drawings, err = lines(fmt.Sprintf("Events a second over the last ten minutes; now %s folded.", now), plot{
		labels: h.labels, labelled: liveLabelled, format: short, series: [][]float64{h.appended, h.folded},
	})
	return f, err
}

func lagFigure(h history) (figure, error) {
	f := figure{
		ID: "lag", Title: "Lag", Note: "Log entries stored and not folded yet.",
		Table: h.table([]string{"When", "Entries behind"}, h.lag),
	}
	var err error
	f.Drawings, err = lines("Entries not folded yet over the last ten minutes.", plot{
		labels: h.labels, labelled: liveLabelled, format: short, series: [][]float64{h.lag},
	})
	return f, err
}

// table has the history as text: every half minute, the latest first.
func (h *history) table(head []string, columns ...[]float64) table {
	t := table{Head: head}
	for i := maxSamples - 1; i >= 0; i -= int(30 * time.Second / sampleEvery) {
		if columns[0][i] == missing() {
			break
		}
		row := []string{h.labels[i]}
		for _, c := range columns {
			row = append(row, short(c[i]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
