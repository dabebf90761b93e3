// Package chtest runs a real ClickHouse for tests, in a process of its own, which a test can kill,
// pause, and start again on the same data. The engine is libchdb; package engine serves it over
// ClickHouse's HTTP protocol.
package chtest
