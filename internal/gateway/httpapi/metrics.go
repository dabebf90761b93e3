package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// metrics are the API's own; those of the log, the folds and notify are registered by their owners.
type metrics struct {
	routes    sync.Map                 // of *routeMetrics, by pattern
	requests  *prometheus.CounterVec   // by route and status
	errors    *prometheus.CounterVec   // by code
	duration  *prometheus.HistogramVec // by route
	inFlight  prometheus.Gauge
	accepted  prometheus.Counter
	bodyBytes prometheus.Counter
	uploads   prometheus.Gauge
	streams   prometheus.Gauge
	pushed    *prometheus.CounterVec // by event name
	ended     *prometheus.CounterVec // by reason
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_http_requests_total", Help: "Requests by route and status.",
		}, []string{"route", "status"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_http_errors_total", Help: "Requests that were answered with an error, by its code.",
		}, []string{"code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "receiptd_http_request_seconds", Help: "Time from request to the end of the answer; streams are left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "receiptd_http_in_flight", Help: "Requests being served, open streams included.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http_events_accepted_total", Help: "Events that were answered as durable.",
		}),
		bodyBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http_event_bytes_total", Help: "Bytes of event bodies, after decompression.",
		}),
		uploads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "receiptd_event_streams", Help: "Open streams of clients that send events.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "receiptd_streams", Help: "Open event streams.",
		}),
		pushed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_stream_events_total", Help: "Events sent on streams, by name.",
		}, []string{"event"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_streams_ended_total", Help: "Streams that ended, by reason.",
		}, []string{"reason"}),
	}
	registry.MustRegister(m.requests, m.errors, m.duration, m.inFlight, m.accepted, m.bodyBytes, m.uploads, m.streams, m.pushed, m.ended)
	// Counters that alerts watch exist from the start: one that begins with 1 shows no increase.
	for _, code := range []string{errOverloaded.Code, errUnavailable.Code, errUnknown.Code, errLogFull.Code, errTimeout.Code, ingest.CodeNotApplied} {
		m.errors.WithLabelValues(code)
	}
	for _, name := range []string{
		"statistic", "read", "delivered", "conversation_read", "own_read", "own_conversation_read", "own_marked_unread", "alert", "resync", "closing",
	} {
		m.pushed.WithLabelValues(name)
	}
	for _, reason := range []error{errStreamShutdown, errStreamExpired, errStreamSlow, errStreamGone} {
		m.ended.WithLabelValues(reason.Error())
	}
	return m
}

// routeMetrics are the metrics of one pattern, found once: to find them by labels again would be a
// tenth of what the handler does for a small request.
type routeMetrics struct {
	path     string
	ok       prometheus.Counter // status 200
	duration prometheus.Observer
}

// expect makes the metrics of a pattern, so that its first request is an increase.
func (m *metrics) expect(pattern string) { m.routes.LoadOrStore(pattern, m.route(pattern)) }

// observe counts a request by the pattern that matched it, so that paths cannot make series grow.
func (m *metrics) observe(pattern string, status int, took time.Duration) {
	found, ok := m.routes.Load(pattern)
	if !ok {
		found, _ = m.routes.LoadOrStore(pattern, m.route(pattern))
	}
	r := found.(*routeMetrics)
	if status == http.StatusOK {
		r.ok.Inc()
	} else {
		m.requests.WithLabelValues(r.path, strconv.Itoa(status)).Inc()
	}
	if r.duration != nil {
		r.duration.Observe(took.Seconds())
	}
}

func (m *metrics) route(pattern string) *routeMetrics {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	if pattern == "" {
		pattern = "/"
	}
	r := &routeMetrics{path: pattern, ok: m.requests.WithLabelValues(pattern, strconv.Itoa(http.StatusOK))}
	if !strings.HasSuffix(pattern, "stream") { // they last as long as their clients like
		r.duration = m.duration.WithLabelValues(pattern)
	}
	return r
}
