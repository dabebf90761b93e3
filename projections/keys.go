package projections

import (
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
	tableSummary      = 's' // app, author, number -> conversation, id (none: the chat itself)
	tableUser         = 'u' // app, user -> what they set for all of their conversations
	tableAuthor       = 'S' // app, author -> numbers of the items of their summary
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

// DescribeKey names a key of the state for an operator, for example when verify finds a difference.
func DescribeKey(key []byte) string {
	if len(key) == 0 {
		return "empty key"
	}
	names := map[byte]string{
		tableMeta: "meta", tableClock: "clock", tableApp: "app", tableLabel: "label", tableConvByName: "conversation by name",
		tableConversation: "conversation", tableMember: "member", tableUserIndex: "user's conversations",
		tableMessage: "message", tableUnreadSingle: "unread in single chat", tableListed: "messages of a group", tableSummary: "item of summary",
		tableUser: "settings of a user", tableAuthor: "author of summary", tableParked: "parked receipt", tableEventID: "event known by its id", tableRejection: "rejection", tableAlert: "alert", tablePoison: "poison entry",
		tableCohort: "rollup of a cohort", tableHour: "rollup of an hour",
		tableTree: "Merkle tree of the log", tableGroupDay: "rollup of a group's day", tableSenderDay: "rollup of a sender's day",
	}
	name, ok := names[key[0]]
	if !ok {
		name = "unknown table"
	}
	return fmt.Sprintf("%s %q", name, key[1:])
}

// LookedUp reports whether values are found by this very key. Keys of the other tables are only
// found by scanning.
func LookedUp(key []byte) bool {
	if len(key) == 0 {
		return false
	}
	switch key[0] {
	case tableLabel, tableMember, tableUserIndex, tableUnreadSingle, tableListed, tableSummary, tableParked, tableEventID, tableRejection, tablePoison, tableAlert:
		return false
	}
	return true
}

// projectionTables are the projections that an operator can rebuild one by one with receiptctl
// replay.
var projectionTables = map[string]string{
	"readset":    string([]byte{tableMessage}),
	"unread":     string([]byte{tableConversation, tableMember, tableUserIndex, tableUnreadSingle, tableListed, tableUser}),
	"statistic":  string([]byte{tableSummary, tableAuthor}),
	"rejections": string([]byte{tableRejection, tablePoison}),
	"rollup":     string([]byte{tableCohort, tableHour, tableGroupDay, tableSenderDay}),
	"alerts":     string([]byte{tableAlert}),
	"tree":       string([]byte{tableTree}),
}

// ProjectionTables returns the table tags that make up the named projection. A tag is the first
// byte of its table's keys.
func ProjectionTables(name string) (tags []byte, ok bool) {
	s, ok := projectionTables[name]
	return []byte(s), ok
}

// ProjectionNames lists the names that ProjectionTables knows.
func ProjectionNames() string {
	return strings.Join(slices.Sorted(maps.Keys(projectionTables)), ", ")
}
