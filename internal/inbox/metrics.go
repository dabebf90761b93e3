package inbox

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored  prometheus.Counter
	batches prometheus.Counter
	failed  prometheus.Counter
	read    prometheus.Counter
	missed  prometheus.Counter
	purged  prometheus.Counter
	bodies  prometheus.Counter
	gone    prometheus.Counter
	room    prometheus.Counter
	queued  prometheus.Gauge
	open    prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "receiptd_inbox_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "receiptd_inbox_" + name, Help: help})
	}
	m := &metrics{
		stored:  counter("messages_stored_total", "Records stored in inboxes, messages or references: one for each recipient."),
		batches: counter("batches_stored_total", "Groups of messages that were stored together."),
		failed:  counter("batches_failed_total", "Groups of messages that could not be stored."),
		read:    counter("messages_read_total", "Messages read from the stream, for devices that were away or behind."),
		missed:  counter("mailboxes_behind_total", "Times a connected device fell behind what is kept for it in memory."),
		purged:  counter("purges_total", "Inboxes from which acknowledged messages were removed."),
		bodies:  counter("bodies_stored_total", "Bodies of messages stored once for all their recipients."),
		gone:    counter("bodies_gone_total", "References in inboxes whose body had made room when it was asked for."),
		room:    counter("room_made_total", "Times the largest sender of an app lost the older half of what waited, since the app's inboxes were nearly full."),
		queued:  gauge("queued_bytes", "Bytes that wait to be stored."),
		open:    gauge("mailboxes", "Open mailboxes: connected devices."),
	}
	if r != nil {
		r.MustRegister(m.stored, m.batches, m.failed, m.read, m.missed, m.purged, m.bodies, m.gone, m.room, m.queued, m.open)
	}
	return m
}
