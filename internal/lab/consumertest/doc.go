// Package consumertest is what the tests of several consumers need: a log on a server of its own
// with events in it, and a ClickHouse that is filled from such a log.
package consumertest
