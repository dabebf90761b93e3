// Package chserver runs a real ClickHouse in a process of its own, which can be killed, paused and
// started again on the same data. The engine is that of libchdb; package engine puts ClickHouse's
// HTTP protocol before it. It builds the program from the module's source, so it works in a clone
// of the repository.
package chserver
