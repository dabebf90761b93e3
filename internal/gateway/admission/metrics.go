package admission

import (
	"github.com/prometheus/client_golang/prometheus"
)

// doors are the known ones: their counters exist from the start, so that an alert sees the first
// refusal.
var doors = []string{"http", "nats", "questions", "sdk", "stream"}

type metrics struct {
	refused *prometheus.CounterVec
	waited  prometheus.Histogram
}

func newMetrics(g *Gate) *metrics {
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_admission_refused_total", Help: "Requests that did not get in, by door and reason.",
		}, []string{"door", "reason"}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "receiptd_admission_wait_seconds", Help: "How long requests with events waited for their turn, all read and not yet decoded, of those that had to wait.",
			Buckets: []float64{.0001, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
	}
	for _, door := range doors {
		for _, reason := range reasons {
			m.refused.WithLabelValues(door, string(reason))
		}
	}
	if g.o.Registerer == nil {
		return m
	}
	locked := func(read func() float64) func() float64 {
		return func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return read()
		}
	}
	g.o.Registerer.MustRegister(m.refused, m.waited)
	for _, x := range []struct {
		name, help string
		read       func() float64
	}{
		{"held_bytes", "Memory of requests with events that are not in the log's queue yet.", locked(func() float64 { return float64(g.held) })},
		{"decoding_bytes", "Memory of what is decoded and not in the log's queue yet.", func() float64 { return float64(g.decoding.Taken()) }},
		{"queue_bytes", "Bytes of requests that wait for their turn.", locked(func() float64 { return float64(g.queued) })},
		{"queue_requests", "Requests that wait for their turn.", locked(func() float64 { return float64(g.requests) })},
		{"queue_limit_bytes", "How many bytes may wait, at the measured rate.", locked(func() float64 { return float64(g.limit()) })},
		{"drain_bytes_per_second", "How fast the queue drains.", locked(func() float64 { return g.rate.value() })},
		{"questions", "Questions to the state that are being answered.", func() float64 { return float64(g.questions.Taken()) }},
		{"questions_waiting", "Questions to the state that wait to be asked.", func() float64 { return float64(g.questions.Waiting()) }},
	} {
		g.o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "receiptd_admission_" + x.name, Help: x.help,
		}, x.read))
	}
	return m
}
