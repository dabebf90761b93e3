// Package chtest runs a real ClickHouse for tests, in a process of its own that a test can kill, pause and start again
// on the same data. The engine is that of libchdb; package engine puts ClickHouse's HTTP protocol before it.
package chtest
