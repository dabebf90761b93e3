package runtime

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// openAnalytics makes what fills ClickHouse, if there is one. It asks ClickHouse for nothing: that may be down.
func (s *Server) openAnalytics() (err error) {
	if s.Archive == nil {
		return nil
	}
	s.analytics, err = consumers.NewAnalytics(s.Log, s.Archive, consumers.AnalyticsOptions{
		Dir:        filepath.Join(s.cfg.Data, analyticsDir),
		CacheBytes: int(s.cfg.State.CacheSize) / 4,
		Logger:     s.logger,
	})
	return err
}

// rates is who answers for read rates: ClickHouse if there is one.
func (s *Server) rates() httpapi.Analytics {
	if s.Archive != nil {
		return s.Archive
	}
	return s.Projector
}

// runAnalytics fills ClickHouse. When that cannot go on, receipts do: an operator is needed, and nothing leaves the log.
func (s *Server) runAnalytics(ctx context.Context) {
	if err := s.analytics.Run(ctx); err != nil {
		s.logger.Error("ClickHouse is not filled any more; nothing leaves the log until receiptd is started again", "error", err)
	}
}

// runRetention lets go of what is in ClickHouse, in the state and in the state of the analytics.
func (s *Server) runRetention(ctx context.Context) error {
	r := consumers.Retention{
		Log: s.Log, Age: s.cfg.Analytics.RetainAge, Bytes: int64(s.cfg.Analytics.RetainSize),
		Logger: s.logger,
		Safe: func(_ context.Context, k int) (uint64, error) {
			folded, err := s.Projector.Durable(k)
			return min(folded, s.analytics.Safe(k)), err
		},
	}
	return r.Run(ctx)
}

// analyticsCollector shows the figures of the sink.
type analyticsCollector struct {
	core      *Core
	analytics *consumers.Analytics
}

var (
	descStored   = desc("analytics_sequence", "Last log entry that ClickHouse has confirmed.")
	descSinkLag  = desc("analytics_lag_entries", "Entries in the log and not confirmed by ClickHouse yet.")
	descRows     = desc("analytics_rows_total", "Rows stored in the table events since the start.")
	descBlocks   = desc("analytics_blocks_total", "Blocks stored in the table events since the start.")
	descFailures = desc("analytics_insert_failures_total", "Inserts of blocks that failed and were repeated.")
	descRefused  = desc("analytics_refused_entries_total", "Entries that ClickHouse refused and that are kept there as bytes.")
)

// Describe implements [prometheus.Collector].
func (c *analyticsCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements [prometheus.Collector].
func (c *analyticsCollector) Collect(ch chan<- prometheus.Metric) {
	log, states := c.core.Log.Stats(), c.core.Projector.Stats()
	for k, s := range c.analytics.Stats() {
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
