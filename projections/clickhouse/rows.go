package clickhouse

import (
	"time"

	"github.com/receiptd/receiptd/projections"
)

// MessageRow is the latest state of a message, and the log position at which it was so.
type MessageRow struct {
	projections.AppMessage
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

// CellRow is the latest state of a cell of the rollup of one partition, and the log position at which it was so.
type CellRow struct {
	projections.Cohort
	Version uint64
}

// cellTables are where the kinds of cells are stored.
var cellTables = [...]*table{
	projections.OneCohort: &cohortsTable, projections.HourTotal: &hoursTable,
	projections.GroupDay: &groupDaysTable, projections.SenderDay: &senderDaysTable,
}

// cellValues are the columns of cells of one kind, in the order of its table.
func cellValues(kind projections.CohortKind, partition int, rows []*CellRow) []any {
	n := len(rows)
	app, hour, partitions := make([]string, n), make([]time.Time, n), make([]uint16, n)
	group, peer, sender := make([]string, n), make([]string, n), make([]string, n)
	for i, c := range rows {
		app[i], hour[i], partitions[i] = c.App, hourTime(c.Hour), uint16(partition)
		group[i], peer[i], sender[i] = c.Group, c.Peer, c.Sender
	}
	key := []any{app, hour}
	switch kind {
	case projections.OneCohort:
		key = append(key, group, peer, sender)
	case projections.HourTotal:
		key = append(key, partitions)
	case projections.GroupDay:
		key = append(key, group)
	case projections.SenderDay:
		key = append(key, sender, partitions)
	}
	return append(key, tallyValues(rows)...)
}

// tallyValues are what all tables of cells have after their keys.
func tallyValues(rows []*CellRow) []any {
	n := len(rows)
	messages, eligible, version := make([]uint64, n), make([]uint64, n), make([]uint64, n)
	delivered, reads, recalled := make([]uint64, n), make([]uint64, n), make([]uint64, n)
	bins, counts := make([][]uint16, n), make([][]uint64, n)
	for i, c := range rows {
		messages[i], eligible[i], version[i] = c.Messages, c.Eligible, c.Version
		delivered[i], reads[i], recalled[i] = c.Delivered, c.Read, c.Recalled
		bins[i], counts[i] = make([]uint16, len(c.Bins)), make([]uint64, len(c.Bins))
		for k, b := range c.Bins {
			bins[i][k], counts[i][k] = b.Bin, b.Count
		}
	}
	return []any{messages, eligible, delivered, reads, recalled, bins, counts, version}
}

// lastHour is the last one that a DateTime holds.
const lastHour = (1<<32 - 1) / 3600

// hourTime is the beginning of an hour, bounded to what a DateTime holds.
func hourTime(hour int64) time.Time {
	return time.Unix(min(max(hour, 0), lastHour)*3600, 0).UTC()
}
