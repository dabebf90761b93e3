package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/receiptd/receiptd/projections"
)

// quarter is what the zones of the world divide times by, in milliseconds.
const quarter = 15 * 60 * 1000

// askDetails answers a query that cohorts do not answer. Which messages are the rows of a page is
// told by their numbers, unless the order is one of times. So these are asked for first, and then
// all about the rows: the times of every message of the span are many times as much. The second
// answer is the page, in its order, so that the rows of a page are of one moment; what was recalled
// in between is not among them.
func (s *Store) askDetails(ctx context.Context, sums *rateSums, q *projections.RateQuery) (page projections.RatePage, err error) {
	parts := details(q)
	if q.By != projections.ByMessage || q.Sort.OfTimes() {
		return s.query(ctx, sums, q, parts)
	}
	page, err = s.query(ctx, sums, q, parts[:1])
	if err != nil || len(page.Rows) == 0 {
		return page, err
	}
	only, total := *q, page.Total
	only.Keys, only.Offset = nil, 0
	for i := range page.Rows {
		only.Keys = append(only.Keys, page.Rows[i].Key)
	}
	if !short(only.Keys) {
		return s.query(ctx, sums, q, parts)
	}
	page, err = s.query(ctx, sums, &only, details(&only))
	page.Total = total
	return page, err
}

// details are the SELECTs for a query that cohorts do not answer, from messages and from single
// reads: first the numbers, then the times, but for rows by reader. Their bins are told by where
// they begin.
func details(q *projections.RateQuery) []string {
	if q.By == projections.ByReader {
		return byReader(q)
	}
	counts := `SELECT ` + detailKey(q, "id") + ` AS key, toUInt64(NOT recalled) AS messages, toUInt64(eligible) AS eligible, toUInt64(delivered) AS delivered,
		toUInt64(read) AS read, toUInt64(recalled) AS recalled, emptyArrayInt64() AS bins, emptyArrayUInt64() AS counts
		FROM messages FINAL WHERE tracked AND ` + detailed(q, "id", detailColumn(q, "id"))
	times := `SELECT key, toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), [bin], [count()]
		FROM (SELECT ` + detailKey(q, "message") + ` AS key, ` + binBegin("took_ms") + ` AS bin FROM reads WHERE ` + detailed(q, "message", detailColumn(q, "message")) + `)
		GROUP BY key, bin`
	return []string{counts, times}
}

// byReader are the SELECTs for rows by reader: who could read how many messages of groups and of
// single chats, and how many they have. The view readers has the same to add up, without times and
// deliveries.
func byReader(q *projections.RateQuery) []string {
	const none, noTimes = "toUInt64(0)", "emptyArrayInt64() AS bins, emptyArrayUInt64() AS counts"
	groups := `SELECT m.user AS key, count() AS messages, count() AS eligible, ` + none + ` AS delivered, ` + none + ` AS read, ` + none + ` AS recalled, ` + noTimes + `
		FROM
		(
			SELECT app, ` + "`group`" + `, sender, (sequence, ` + "`index`" + `) AS location FROM events
			WHERE kind = 'message.sent' AND outcome = 'applied' AND eligible > 0 AND ` + "`group`" + ` != '' AND ` + detailed(q, "message", "") + `
				AND (app, ` + "`group`" + `, message) NOT IN (SELECT app, ` + "`group`" + `, id FROM messages FINAL WHERE recalled)
		) AS e
		INNER JOIN members AS m ON m.app = e.app AND m.` + "`group`" + ` = e.` + "`group`" + `
		WHERE m.began < e.location AND e.location < m.ended AND m.user != e.sender
		GROUP BY key`
	chats := `SELECT peer AS key, count(), sum(eligible), countIf(delivered > 0 AND read = 0), ` + none + `, ` + none + `, ` + noTimes + `
		FROM messages FINAL WHERE tracked AND NOT recalled AND eligible > 0 AND ` + "`group`" + ` = '' AND ` + detailed(q, "id", "peer") + `
		GROUP BY key`
	reads := `SELECT key, ` + none + `, ` + none + `, count(), count(), ` + none + `, [bin], [count()]
		FROM (SELECT toString(reader) AS key, ` + binBegin("took_ms") + ` AS bin FROM reads WHERE ` + detailed(q, "message", "reader") + `)
		GROUP BY key, bin`
	return []string{groups, chats, reads}
}

// detailKey is what a row of the answer stands for; message is the column of the id.
func detailKey(q *projections.RateQuery, message string) string {
	if column := detailColumn(q, message); column != "" {
		return "toString(" + column + ")"
	}
	if q.By == projections.ByDay && q.Zone == nil {
		return "toUnixTimestamp(toStartOfDay(sent_at))"
	}
	return fmt.Sprintf("intDiv(toUnixTimestamp64Milli(sent_at), %d) * %d", quarter, quarter/1000)
}

// detailColumn is the column that has what a row of the answer stands for; empty if that is a time.
func detailColumn(q *projections.RateQuery, message string) string {
	switch q.By {
	case projections.ByGroup:
		return "`group`"
	case projections.BySender:
		return "sender"
	case projections.ByLabel:
		return "label"
	case projections.ByApp:
		return "app"
	case projections.ByMessage:
		return message
	}
	return ""
}

// detailed is the condition of what is in the answer. message is the column of the id; key, if it
// is not empty, the column of what a row stands for.
func detailed(q *projections.RateQuery, message, key string) string {
	at := func(ms int64) string {
		return fmt.Sprintf("fromUnixTimestamp64Milli(toInt64(%d), 'UTC')", storable(ms))
	}
	where := append(conditions(q), "sent_at >= "+at(q.From), "sent_at < "+at(q.To))
	if q.Messages != nil {
		where = append(where, message+" IN ("+literals(q.Messages)+")")
	}
	if key != "" && q.Keys != nil && short(q.Keys) {
		where = append(where, key+" IN ("+literals(q.Keys)+")")
	}
	return strings.Join(where, " AND ")
}

// maxKeyBytes bounds the keys that stand in each part of a statement, which ClickHouse takes up to
// 256 KiB of.
const maxKeyBytes = 48 << 10

// short reports whether keys may stand in each part of a statement.
func short(keys []string) bool { return len(literals(keys)) <= maxKeyBytes }

// binBegin is where the bin of a time begins.
func binBegin(ms string) string { return "toInt64(roundDown(toUInt64(" + ms + "), " + binBegins + "))" }

// binBegins is where all bins begin, as an array.
var binBegins = func() string {
	var list []string
	for bin := range uint16(projections.NumBins) {
		// Of bins that begin at the same time, all but one are empty.
		if begin := projections.BinMillis(bin); projections.TimeBin(begin) == bin {
			list = append(list, fmt.Sprint(begin))
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}()
