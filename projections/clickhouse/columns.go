package clickhouse

import (
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/receiptd/receiptd/schema"
)

// table is what an insert names: a table and its columns, in the order of the values. A test compares them with what
// the migrations make.
type table struct {
	name    string
	columns []clickhouse.ColumnNameAndType
}

const (
	stringType = "String"
	lowType    = "LowCardinality(String)"
	millisType = "DateTime64(3, 'UTC')"
	hourType   = "DateTime('UTC')"
	boolType   = "Bool"
)

var eventsTable = table{"events", []clickhouse.ColumnNameAndType{
	{Name: "partition", Type: "UInt16"}, {Name: "sequence", Type: "UInt64"}, {Name: "index", Type: "UInt32"},
	{Name: "fact", Type: "UInt32"}, {Name: "at", Type: millisType}, {Name: "fingerprint", Type: "UInt64"},
	{Name: "kind", Type: enumType("kind")}, {Name: "outcome", Type: enumType("outcome")},
	{Name: "app", Type: lowType}, {Name: "group", Type: lowType}, {Name: "user", Type: lowType},
	{Name: "peer", Type: lowType}, {Name: "message", Type: lowType}, {Name: "content", Type: stringType},
	{Name: "receipt", Type: boolType}, {Name: "strict", Type: boolType}, {Name: "client_ms", Type: "Int64"},
	{Name: "extra", Type: stringType}, {Name: "sender", Type: lowType}, {Name: "sent_at", Type: millisType},
	{Name: "eligible", Type: "UInt32"}, {Name: "readers", Type: "UInt32"},
}}

var messagesTable = table{"messages", []clickhouse.ColumnNameAndType{
	{Name: "app", Type: lowType}, {Name: "group", Type: stringType}, {Name: "peer", Type: stringType},
	{Name: "id", Type: stringType}, {Name: "sender", Type: stringType}, {Name: "sent_at", Type: millisType},
	{Name: "receipt", Type: boolType}, {Name: "recalled", Type: boolType}, {Name: "eligible", Type: "UInt32"},
	{Name: "delivered", Type: "UInt32"}, {Name: "read", Type: "UInt32"}, {Name: "first_read_at", Type: millisType},
	{Name: "last_read_at", Type: millisType}, {Name: "version", Type: "UInt64"},
}}

var cohortsTable = table{"cohorts", withTally([]clickhouse.ColumnNameAndType{
	{Name: "app", Type: lowType}, {Name: "hour", Type: hourType}, {Name: "group", Type: stringType},
	{Name: "peer", Type: stringType}, {Name: "sender", Type: stringType},
})}

var hoursTable = table{"hours", withTally([]clickhouse.ColumnNameAndType{
	{Name: "app", Type: lowType}, {Name: "hour", Type: hourType}, {Name: "partition", Type: "UInt16"},
})}

var groupDaysTable = table{"group_days", withTally([]clickhouse.ColumnNameAndType{
	{Name: "app", Type: lowType}, {Name: "day", Type: hourType}, {Name: "group", Type: stringType},
})}

var senderDaysTable = table{"sender_days", withTally([]clickhouse.ColumnNameAndType{
	{Name: "app", Type: lowType}, {Name: "day", Type: hourType}, {Name: "sender", Type: stringType},
	{Name: "partition", Type: "UInt16"},
})}

// withTally appends what all the tables of cells have after their keys.
func withTally(key []clickhouse.ColumnNameAndType) []clickhouse.ColumnNameAndType {
	return append(key, []clickhouse.ColumnNameAndType{
		{Name: "messages", Type: "UInt64"}, {Name: "eligible", Type: "UInt64"}, {Name: "delivered", Type: "UInt64"},
		{Name: "read", Type: "UInt64"}, {Name: "recalled", Type: "UInt64"}, {Name: "bins", Type: "Array(UInt16)"},
		{Name: "counts", Type: "Array(UInt64)"}, {Name: "version", Type: "UInt64"},
	}...)
}

// insert is the statement, without its values.
func (t *table) insert() string {
	var s strings.Builder
	s.WriteString("INSERT INTO " + t.name + " (")
	for i, c := range t.columns {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString("`" + c.Name + "`")
	}
	s.WriteString(")")
	return s.String()
}

// enumType takes the type of an enumeration of the table events from its migration, where the names are.
func enumType(column string) string {
	text, err := schema.ClickHouse.ReadFile("clickhouse/0001_events.sql")
	if err != nil {
		panic(err) // embedded
	}
	_, rest, _ := strings.Cut(string(text), "\n    "+column+" ")
	definition, _, _ := strings.Cut(strings.TrimSpace(rest), ")")
	return strings.Join(strings.Fields(definition), " ") + ")"
}
