package natsapi

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// metrics are the door's own.
type metrics struct {
	registerer prometheus.Registerer
	requests   prometheus.Counter
	accepted   prometheus.Counter
	errors     *prometheus.CounterVec // by code
	unanswered prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		registerer: r,
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_nats_requests_total", Help: "Requests over NATS whose events were handed to the log.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_nats_events_accepted_total", Help: "Events of requests over NATS that became durable.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_nats_errors_total", Help: "Requests over NATS that were answered with an error, by its code.",
		}, []string{"code"}),
		unanswered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_nats_unanswered_total", Help: "Answers over NATS that could not be sent.",
		}),
	}
	r.MustRegister(m.requests, m.accepted, m.errors, m.unanswered)
	// Counters that alerts watch exist from the start: one that begins with 1 shows no increase.
	for _, code := range []string{ingest.Overloaded.Code, ingest.Unavailable.Code, ingest.Unknown.Code, ingest.LogFull.Code, ingest.CodeNotApplied} {
		m.errors.WithLabelValues(code)
	}
	return m
}

// watch shows how many requests are not answered yet.
func (m *metrics) watch(requests *atomic.Int64) {
	m.registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "receiptd_nats_in_flight", Help: "Requests over NATS that are not answered yet.",
	}, func() float64 { return float64(requests.Load()) }))
}

func (m *metrics) taken(requests, accepted int) {
	m.requests.Add(float64(requests))
	m.accepted.Add(float64(accepted))
}

func (m *metrics) refused(code string, n int) { m.errors.WithLabelValues(code).Add(float64(n)) }
