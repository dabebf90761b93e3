// Package clickhouse keeps in ClickHouse what a log held and what follows from it: every event in
// the order of the log, in blocks that are stored exactly once; and the latest numbers of messages,
// of cohorts and of their totals, which may be stored again at will. It answers read rates from
// there, and gives the entries of the log back ([Store.Replay]). It works with ClickHouse 25.8 and
// newer. The tables are in schema/clickhouse.
//
// # Adding a column
//
// The columns of a table are declared once, as the fields of a struct: eventColumns,
// messageColumns, cohortColumns, hourColumns, groupDayColumns, senderDayColumns. A field is a
// column's name in ClickHouse, its type, and the values of the rows being sent. The insert
// statement, how memory is reserved, grown, cleared and split, what the driver is given, and the
// test against the tables all follow from it. So a new column of events takes
//
//   - a line in eventColumns, with the group archive if [Store.Replay] is to read it, and
//   - a line in the place that knows its value: [Block.Add] and what it calls, and archiveReader if
//     the archive gives it back;
//
// beside what any change of a table takes: a migration in schema/clickhouse (the ones before it
// never change), and its result in testdata, which go test -update writes. Until all of them agree,
// TestColumnsAreThoseOfTheTables and TestSchemaIsGolden fail. This was tried with the number of
// bytes of a receipt's text: one line in eventColumns, one in Block.setEvent, a migration.
package clickhouse
