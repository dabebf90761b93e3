package runtime

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/analytics"
)

// analyticsCollector shows the figures of the sink.
type analyticsCollector struct {
	core      *Core
	analytics func() *analytics.Consumer // nil while another node fills ClickHouse
}

var (
	descStored   = desc("analytics_sequence", "Last log entry that ClickHouse has confirmed.")
	descSinkLag  = desc("analytics_lag_entries", "Entries in the log and not confirmed by ClickHouse yet.")
	descRows     = desc("analytics_rows_total", "Rows stored in the table events since the start.")
	descBlocks   = desc("analytics_blocks_total", "Blocks stored in the table events since the start.")
	descFailures = desc("analytics_insert_failures_total", "Inserts of blocks that failed and were repeated.")
	descFilling  = prometheus.NewDesc("receiptd_analytics_filling", "1 while this process fills ClickHouse: of several nodes one does at a time.", nil, nil)
	descRefused  = desc("analytics_refused_entries_total", "Entries that ClickHouse refused and that are kept there as bytes.")
)

// Describe implements [prometheus.Collector].
func (c *analyticsCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements [prometheus.Collector].
func (c *analyticsCollector) Collect(ch chan<- prometheus.Metric) {
	log, states := c.core.Log.Stats(), c.core.Projector.Stats()
	a := c.analytics()
	ch <- prometheus.MustNewConstMetric(descFilling, prometheus.GaugeValue, oneIf(a != nil && !a.Ended()))
	if a == nil {
		return
	}
	for k, s := range a.Stats() {
		send := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(d, t, v, strconv.Itoa(k))
		}
		send(descStored, prometheus.GaugeValue, float64(s.Stored))
		send(descSinkLag, prometheus.GaugeValue, max(0, float64(max(log[k].LastSequence, states[k].Sequence))-float64(s.Stored)))
		send(descRows, prometheus.CounterValue, float64(s.Rows))
		send(descBlocks, prometheus.CounterValue, float64(s.Blocks))
		send(descFailures, prometheus.CounterValue, float64(s.Failures))
		send(descRefused, prometheus.CounterValue, float64(s.Refused))
	}
}
