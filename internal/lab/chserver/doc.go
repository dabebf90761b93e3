// Package chserver runs a real ClickHouse in a process of its own, which can be killed, paused and
// started again on the same data. The engine is libchdb's, and package engine serves
// ClickHouse's HTTP protocol in front of it. The program is built from the module's source, so this
// works only in a clone of the repository.
package chserver
