package clickhouse

import (
	"time"

	"github.com/receiptd/receiptd/projections"
)

// MessageRow is the latest state of a message, and the log position at which it was so.
type MessageRow struct {
	App     string
	Message projections.Message
	Version uint64
}

// messageValues are the columns, in the order of messagesTable.
func messageValues(rows []MessageRow) []any {
	n := len(rows)
	var (
		app, group, peer, id, sender = make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		sentAt, firstAt, lastAt      = make([]int64, n), make([]int64, n), make([]int64, n)
		receipt, recalled            = make([]bool, n), make([]bool, n)
		eligible, delivered, read    = make([]uint32, n), make([]uint32, n), make([]uint32, n)
		version                      = make([]uint64, n)
	)
	for i := range rows {
		m := &rows[i].Message
		app[i], group[i], peer[i], id[i], sender[i] = rows[i].App, m.Group, m.To, m.ID, m.From
		sentAt[i], firstAt[i], lastAt[i] = storable(m.SentAt), storable(m.FirstReadAt), storable(m.LastReadAt)
		receipt[i], recalled[i] = m.ReceiptRequested, m.Recalled
		eligible[i], delivered[i], read[i] = uint32(m.Eligible), uint32(m.Delivered), uint32(m.Read)
		version[i] = rows[i].Version
	}
	return []any{app, group, peer, id, sender, sentAt, receipt, recalled, eligible, delivered, read, firstAt, lastAt, version}
}

// CohortRow is the latest state of a cohort, or of the total of an hour in one partition, and the log position at which it
// was so.
type CohortRow struct {
	projections.Cell
	Version uint64
}

// cohortValues are the columns, in the order of cohortsTable.
func cohortValues(rows []CohortRow) []any {
	group, peer, sender := make([]string, len(rows)), make([]string, len(rows)), make([]string, len(rows))
	for i := range rows {
		group[i], peer[i], sender[i] = rows[i].Group, rows[i].Peer, rows[i].Sender
	}
	app, hour, numbers := tallyValues(rows)
	return append([]any{app, hour, group, peer, sender}, numbers...)
}

// hourValues are the columns, in the order of hoursTable.
func hourValues(partition int, rows []CohortRow) []any {
	partitions := make([]uint16, len(rows))
	for i := range rows {
		partitions[i] = uint16(partition)
	}
	app, hour, numbers := tallyValues(rows)
	return append([]any{app, hour, partitions}, numbers...)
}

// tallyValues are what both tables have in common: the beginning of the key, and all that is counted.
func tallyValues(rows []CohortRow) (app []string, hour []time.Time, numbers []any) {
	n := len(rows)
	app, hour = make([]string, n), make([]time.Time, n)
	messages, eligible, version := make([]uint64, n), make([]uint64, n), make([]uint64, n)
	delivered, reads, recalled := make([]uint64, n), make([]uint64, n), make([]uint64, n)
	bins, counts := make([][]uint16, n), make([][]uint64, n)
	for i := range rows {
		c := &rows[i]
		app[i], hour[i], version[i] = c.App, hourTime(c.Hour), c.Version
		messages[i], eligible[i], delivered[i], reads[i], recalled[i] = c.Messages, c.Eligible, c.Delivered, c.Read, c.Recalled
		bins[i], counts[i] = make([]uint16, len(c.Bins)), make([]uint64, len(c.Bins))
		for k, b := range c.Bins {
			bins[i][k], counts[i][k] = b.Bin, b.Count
		}
	}
	return app, hour, []any{messages, eligible, delivered, reads, recalled, bins, counts, version}
}

// hourTime is the beginning of an hour, bounded to what a DateTime holds.
func hourTime(hour int64) time.Time {
	const last = (1<<32 - 1) / 3600
	return time.Unix(min(max(hour, 0), last)*3600, 0).UTC()
}
