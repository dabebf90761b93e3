package runtime

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/copystate"
)

// collector shows the figures of log and folds, read when they are asked for.
type collector struct{ core *Core }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("receiptd_"+name, help, append([]string{"partition"}, labels...), nil)
}

var (
	descLogEntries  = desc("log_entries_total", "Entries appended to the log since the start.")
	descLogEvents   = desc("log_events_total", "Events appended to the log since the start.")
	descLogBytes    = desc("log_bytes_total", "Bytes of the entries appended since the start.")
	descLogRetries  = desc("log_retries_total", "Appends that were tried again.")
	descLogFailed   = desc("log_failed_entries_total", "Entries that were given up, because the log was full or could not be reached.")
	descLogPending  = desc("log_pending_events", "Events queued for the log.")
	descLogAge      = desc("log_append_age_seconds", "How long the append under way has been waiting.")
	descLogWaiting  = desc("log_waiting_producers", "Producers that wait for room in the queue.")
	descLogAck      = desc("log_ack_seconds", "How long the last append took to be durable.")
	descLogAckSum   = desc("log_ack_seconds_total", "How long all appends together took to be durable.")
	descLogSequence = desc("log_sequence", "Sequence of the last entry this process appended.")
	descApplied     = desc("fold_sequence", "Sequence of the last entry folded.")
	descLag         = desc("fold_lag_entries", "Entries appended by this process and not folded yet.")
	descUnfolded    = desc("fold_lag_events", "Events appended by this process and not folded yet, while intake follows the fold.")
	descLagTime     = desc("fold_lag_seconds", "For how long the oldest entry of this process that is not folded has been stored, while intake follows the fold.")
	descClock       = desc("fold_clock_seconds", "The fold's clock: broker time of the last entry.")
	descClockBack   = desc("fold_clock_set_back_total", "Times that the fold's clock was taken back, since the log began: the broker's clock had been wrong.")
	descLevel       = desc("rules_level", "Level of the rules that decide the next event.")
	descOutcomes    = desc("fold_outcomes_total", "Events decided, by outcome and reason.", "outcome", "reason")
	descCache       = desc("fold_cache_bytes", "Memory of cached state, roughly.")
	descChanged     = desc("fold_changed_messages", "Messages changed since the last checkpoint.")
	descParked      = desc("fold_parked_receipts", "Receipts that wait for their message.")
	descPoison      = desc("fold_poison_entries_total", "Log entries that could not be decoded.")
	descFolding     = desc("fold_again", "1 while a partition's state, found corrupt, is folded again and its questions are answered with 503.")
	descCorrupt     = desc("state_corruptions_total", "Times that a partition's state was found corrupt while it was in use.")
	descFull        = desc("state_disk_full", "1 while a checkpoint waits for room on the disk.")
	descDisk        = desc("state_disk_bytes", "Size of the checkpoint's files.")
)

var (
	descFree    = prometheus.NewDesc("receiptd_disk_free_bytes", "Bytes that are free on the disk of the data directory.", nil, nil)
	descReserve = prometheus.NewDesc("receiptd_disk_reserve_bytes", "Bytes that are left free there (--min-free): with less, events are refused.", nil, nil)
)

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if free, err := eventlog.FreeSpace(c.core.data); err == nil {
		ch <- prometheus.MustNewConstMetric(descFree, prometheus.GaugeValue, float64(free))
	}
	ch <- prometheus.MustNewConstMetric(descReserve, prometheus.GaugeValue, float64(c.core.minFree))
	log, states := c.core.Log.Stats(), c.core.Projector.Stats()
	for k := range states {
		partition := strconv.Itoa(k)
		send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, t, v, append([]string{partition}, labels...)...)
		}
		l, s := &log[k], &states[k]
		c.collectLog(l, send)
		if s.CopyState == copystate.Absent {
			continue // nothing is folded here
		}
		send(descApplied, prometheus.GaugeValue, float64(s.Sequence))
		send(descLag, prometheus.GaugeValue, max(0, float64(l.LastSequence)-float64(s.Sequence)))
		send(descUnfolded, prometheus.GaugeValue, float64(l.Unfolded))
		send(descLagTime, prometheus.GaugeValue, l.Lag.Seconds())
		send(descClock, prometheus.GaugeValue, float64(s.Clock)/float64(time.Second/time.Millisecond))
		send(descClockBack, prometheus.CounterValue, float64(s.ClockSetBack))
		send(descLevel, prometheus.GaugeValue, float64(s.Level))
		send(descCache, prometheus.GaugeValue, float64(s.CacheBytes))
		send(descChanged, prometheus.GaugeValue, float64(s.Changed))
		send(descParked, prometheus.GaugeValue, float64(s.Parked))
		send(descPoison, prometheus.CounterValue, float64(s.Poison))
		send(descFolding, prometheus.GaugeValue, oneIf(s.FoldingAgain))
		send(descCorrupt, prometheus.CounterValue, float64(s.Corruptions))
		send(descFull, prometheus.GaugeValue, oneIf(s.DiskFull))
		send(descDisk, prometheus.GaugeValue, float64(s.DiskBytes))
		byReason := map[[2]string]uint64{} // several outcomes have one reason
		for o := range events.Outcomes {
			byReason[[2]string{o.String(), o.Reason()}] = 0
		}
		for o, n := range s.Outcomes {
			byReason[[2]string{o.String(), o.Reason()}] += n
		}
		for labels, n := range byReason {
			send(descOutcomes, prometheus.CounterValue, float64(n), labels[:]...)
		}
	}
}

// collectLog shows the figures of a partition's log.
func (c *collector) collectLog(l *eventlog.PartitionStats, send func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string)) {
	send(descLogEntries, prometheus.CounterValue, float64(l.Entries))
	send(descLogEvents, prometheus.CounterValue, float64(l.Events))
	send(descLogBytes, prometheus.CounterValue, float64(l.Bytes))
	send(descLogRetries, prometheus.CounterValue, float64(l.Retries))
	send(descLogFailed, prometheus.CounterValue, float64(l.Failed))
	send(descLogPending, prometheus.GaugeValue, float64(l.Queued))
	send(descLogWaiting, prometheus.GaugeValue, float64(l.Waiting))
	send(descLogAge, prometheus.GaugeValue, l.InFlight.Seconds())
	send(descLogAck, prometheus.GaugeValue, l.LastAck.Seconds())
	send(descLogAckSum, prometheus.CounterValue, l.AckTime.Seconds())
	send(descLogSequence, prometheus.GaugeValue, float64(l.LastSequence))
}
