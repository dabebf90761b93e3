// Package clickhouse keeps what a log held, and what follows from it, in ClickHouse: all events in the order of the log, in
// blocks that are stored exactly once; the latest numbers of messages and of cohorts of messages, which may be stored
// again at will; and the questions and the archive that are answered from them. The tables are in schema/clickhouse.
//
// It works with ClickHouse 25.8 and newer.
package clickhouse
