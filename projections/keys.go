package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The tables of a partition's state. Every key starts with its table's tag. Numbers in keys are
// uvarints, which are self-delimiting, so a number is never a prefix of another. Ids end with a
// zero byte, which no id contains.
const (
	tableMeta         = '!' // one key: position, clock, counters
	tableClock        = 'T' // one key: steps of the clock that may have been wrong
	tableApp          = 'A' // app key -> number, revision, settings
	tableLabel        = 'l' // app, number -> label of messages
	tableConvByName   = 'C' // app, name -> number
	tableConversation = 'c' // number -> header, and both sides of a single chat
	tableMember       = 'M' // conversation, ordinal -> member
	tableUserIndex    = 'U' // app, user, conversation -> ordinal in a group
	tableMessage      = 'm' // app, id, conversation -> message with its read set
	tableUnreadSingle = 'q' // conversation, seq -> sender's side, id: no read covers it
	tableListed       = 'L' // group, first seq -> messages of a block: sender's ordinal, id each
	tableItems        = 'i' // app, author, first number -> items of a full block: conversation, id
	tableSummary      = 's' // app, author, number -> item, of an earlier version
	tableUser         = 'u' // app, user -> what they set for all of their conversations
	tableAuthor       = 'S' // app, author -> numbers of the items of their summary, the last ones
	tableParked       = 'P' // app, arrival (sequence, index) -> receipt
	tableEventID      = 'e' // slot -> event that is known by its id
	tableRejection    = 'J' // app, slot -> rejection
	tablePoison       = 'Z' // sequence -> time, reason
	tableAlert        = 'a' // app, kind, slot -> alert, or a partition's part of one
	tableCohort       = 'h' // app, hour, conversation, sender's ordinal, label if any -> cohort
	tableHour         = 'H' // app, hour -> total of its cohorts
	tableTree         = 't' // nothing -> base, size; level, number -> tile of the log's Merkle tree

	// Only a partition opened with Options.TrackCohorts has these. Days are named by their first
	// hour.
	tableGroupDay  = 'd' // app, day, conversation -> total of a group's day
	tableSenderDay = 'D' // app, day, sender -> total of a sender's day
)

func appendID(dst []byte, id string) []byte { return append(append(dst, id...), 0) }

func appKey(dst []byte, app string) []byte { return append(append(dst, tableApp), app...) }

func labelKey(dst []byte, app uint32, number uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.AppendUvarint(append(dst, tableLabel), uint64(app)), number)
}

func convNameKey(dst []byte, app uint32, n convName) []byte {
	dst = binary.AppendUvarint(append(dst, tableConvByName), uint64(app))
	if n.group != "" {
		return append(append(dst, 'g'), n.group...)
	}
	return append(appendID(append(dst, 's'), n.a), n.b...)
}

func convKey(dst []byte, num uint64) []byte {
	return binary.AppendUvarint(append(dst, tableConversation), num)
}

func memberPrefix(dst []byte, conv uint64) []byte {
	return binary.AppendUvarint(append(dst, tableMember), conv)
}

func memberKey(dst []byte, conv uint64, ordinal uint32) []byte {
	return binary.AppendUvarint(memberPrefix(dst, conv), uint64(ordinal))
}

func userIndexPrefix(dst []byte, app uint32, user string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableUserIndex), uint64(app)), user)
}

func userIndexKey(dst []byte, app uint32, user string, conv uint64) []byte {
	return binary.AppendUvarint(userIndexPrefix(dst, app, user), conv)
}

func messagePrefix(dst []byte, app uint32, id string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableMessage), uint64(app)), id)
}

func messageKey(dst []byte, app uint32, id string, conv uint64) []byte {
	return binary.AppendUvarint(messagePrefix(dst, app, id), conv)
}

func unreadPrefix(dst []byte, conv uint64) []byte {
	return binary.AppendUvarint(append(dst, tableUnreadSingle), conv)
}

// unreadKey keeps the numbers of a conversation in order, so that a scan gives them ascending.
func unreadKey(dst []byte, conv, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(unreadPrefix(dst, conv), seq)
}

// listedKey keeps the blocks of a group in order.
func listedKey(dst []byte, conv, start uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(append(dst, tableListed), conv), start)
}

func authorKey(dst []byte, app uint32, user string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableAuthor), uint64(app)), user)
}

func userKey(dst []byte, app uint32, user string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableUser), uint64(app)), user)
}

func summaryPrefix(dst []byte, app uint32, user string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableSummary), uint64(app)), user)
}

func summaryKey(dst []byte, app uint32, user string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(summaryPrefix(dst, app, user), n)
}

func itemsPrefix(dst []byte, app uint32, user string) []byte {
	return appendID(binary.AppendUvarint(append(dst, tableItems), uint64(app)), user)
}

// itemsKey keeps the blocks of a summary in order.
func itemsKey(dst []byte, app uint32, user string, start uint64) []byte {
	return binary.BigEndian.AppendUint64(itemsPrefix(dst, app, user), start)
}

func parkedKey(dst []byte, app uint32, seq uint64, index int) []byte {
	dst = binary.AppendUvarint(append(dst, tableParked), uint64(app))
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return binary.BigEndian.AppendUint32(dst, uint32(index))
}

func rejectionKey(dst []byte, app uint32, slot int) []byte {
	dst = binary.AppendUvarint(append(dst, tableRejection), uint64(app))
	return binary.BigEndian.AppendUint32(dst, uint32(slot))
}

func alertKey(dst []byte, app uint32, kind byte, slot int) []byte {
	dst = append(binary.AppendUvarint(append(dst, tableAlert), uint64(app)), kind)
	return binary.BigEndian.AppendUint32(dst, uint32(slot))
}

func eventIDKey(dst []byte, slot int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, tableEventID), uint32(slot))
}

func poisonKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tablePoison), seq)
}

// hourKey keeps the hours of a table of the rollup in order, those before 1970 included.
func hourKey(dst []byte, table byte, app uint32, hour int64) []byte {
	dst = binary.AppendUvarint(append(dst, table), uint64(app))
	return binary.BigEndian.AppendUint64(dst, uint64(hour)^1<<63)
}

// table describes a table of the state, apart from the encoding of its values.
type table struct {
	// name is what its keys are called in messages for operators.
	name string
	// scanned says that values are only found by scanning, and never by their very key.
	scanned bool
	// projection is what it is rebuilt with, alone; empty = only with all of the state.
	projection string
}

// The projections that an operator can rebuild one by one with receiptctl replay.
const (
	projectionReadSet    = "readset"
	projectionUnread     = "unread"
	projectionStatistic  = "statistic"
	projectionRejections = "rejections"
	projectionRollup     = "rollup"
	projectionAlerts     = "alerts"
	projectionTree       = "tree"
)

// tables are all of them, by tag. splitter.stays says of each what a repartition does to it.
var tables = [256]table{
	tableMeta:         {name: "meta"},
	tableClock:        {name: "clock"},
	tableApp:          {name: "app"},
	tableLabel:        {name: "label", scanned: true},
	tableConvByName:   {name: "conversation by name"},
	tableConversation: {name: "conversation", projection: projectionUnread},
	tableMember:       {name: "member", scanned: true, projection: projectionUnread},
	tableUserIndex:    {name: "user's conversations", scanned: true, projection: projectionUnread},
	tableMessage:      {name: "message", projection: projectionReadSet},
	tableUnreadSingle: {name: "unread in single chat", scanned: true, projection: projectionUnread},
	tableListed:       {name: "messages of a group", scanned: true, projection: projectionUnread},
	tableItems:        {name: "items of summary", scanned: true, projection: projectionStatistic},
	tableSummary:      {name: "item of summary", scanned: true, projection: projectionStatistic},
	tableUser:         {name: "settings of a user", projection: projectionUnread},
	tableAuthor:       {name: "author of summary", projection: projectionStatistic},
	tableParked:       {name: "parked receipt", scanned: true},
	tableEventID:      {name: "event known by its id", scanned: true},
	tableRejection:    {name: "rejection", scanned: true, projection: projectionRejections},
	tablePoison:       {name: "poison entry", scanned: true, projection: projectionRejections},
	tableAlert:        {name: "alert", scanned: true, projection: projectionAlerts},
	tableCohort:       {name: "rollup of a cohort", projection: projectionRollup},
	tableHour:         {name: "rollup of an hour", projection: projectionRollup},
	tableTree:         {name: "Merkle tree of the log", projection: projectionTree},
	tableGroupDay:     {name: "rollup of a group's day", projection: projectionRollup},
	tableSenderDay:    {name: "rollup of a sender's day", projection: projectionRollup},
}

// DescribeKey names a key of the state for an operator, for example when verify finds a difference.
func DescribeKey(key []byte) string {
	if len(key) == 0 {
		return "empty key"
	}
	return fmt.Sprintf("%s %q", cmp.Or(tables[key[0]].name, "unknown table"), key[1:])
}

// LookedUp reports whether values are found by this very key. Keys of the other tables are only
// found by scanning.
func LookedUp(key []byte) bool { return len(key) > 0 && !tables[key[0]].scanned }

// ProjectionTables returns the table tags that make up the named projection. A tag is the first
// byte of its table's keys.
func ProjectionTables(name string) (tags []byte, ok bool) {
	for tag, t := range tables {
		if t.projection != "" && t.projection == name {
			tags = append(tags, byte(tag))
		}
	}
	return tags, tags != nil
}

// ProjectionNames lists the names that ProjectionTables knows.
func ProjectionNames() string {
	names := map[string]bool{}
	for _, t := range tables {
		if t.projection != "" {
			names[t.projection] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}
