// Package engine is a ClickHouse for tests: the engine of libchdb, with MergeTree parts on the
// disk, behind as much of ClickHouse's HTTP protocol as clickhouse-go speaks. It runs in a process
// of its own, so that a test can kill it; see package chtest. It is not part of the product, which
// works with an ordinary ClickHouse server.
package engine
