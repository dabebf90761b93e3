package msync

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections prometheus.Gauge
	sessions    prometheus.Gauge
	refused     *prometheus.CounterVec // by reason
	closed      *prometheus.CounterVec // by reason
	delayed     *prometheus.CounterVec // by what
	frames      *prometheus.CounterVec // by command
	answers     *prometheus.CounterVec // by kind and result
	pages       prometheus.Counter
	pushed      *prometheus.CounterVec // by kind
	repeated    prometheus.Counter
	lost        prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "receiptd_sdk_" + name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "receiptd_sdk_" + name, Help: help})
	}
	m := &metrics{
		connections: gauge("connections", "Open WebSocket connections."),
		sessions:    gauge("sessions", "Connections that are logged in."),
		refused:     prometheus.NewCounterVec(counter("refused_total", "Connections and logins refused, by reason."), []string{"reason"}),
		closed:      prometheus.NewCounterVec(counter("closed_total", "Connections that ended, by reason."), []string{"reason"}),
		delayed:     prometheus.NewCounterVec(counter("reads_delayed_total", "Times that a connection was not read for a while: user, its user has sent too many bytes; share, all users together have."), []string{"by"}),
		frames:      prometheus.NewCounterVec(counter("frames_total", "Frames of clients, by command."), []string{"command"}),
		answers:     prometheus.NewCounterVec(counter("answers_total", "Answers to what clients sent, by kind of event and reason; ok is none."), []string{"kind", "reason"}),
		pages:       prometheus.NewCounter(counter("pages_total", "Pages with something in them.")),
		pushed:      prometheus.NewCounterVec(counter("pushed_total", "Metas in pages, by kind."), []string{"kind"}),
		repeated:    prometheus.NewCounter(counter("pages_repeated_total", "Pages sent again because they were not acknowledged.")),
		lost:        prometheus.NewCounter(counter("delivery_receipts_lost_total", "Delivery receipts that could not be stored; the SDK cannot be told.")),
		panics:      prometheus.NewCounter(counter("panics_total", "Sessions that ended by a defect of the server; its log has the stack.")),
	}
	for _, reason := range []string{refusedDraining, refusedTotal, refusedAddress, refusedUser, refusedUpgrade, refusedLogin} {
		m.refused.WithLabelValues(reason)
	}
	for _, by := range []string{delayedUser, delayedShare} {
		m.delayed.WithLabelValues(by)
	}
	if r != nil {
		r.MustRegister(m.connections, m.sessions, m.refused, m.closed, m.delayed, m.frames, m.answers, m.pages, m.pushed, m.repeated, m.lost, m.panics)
	}
	return m
}
