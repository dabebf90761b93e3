// Package clock builds programs whose wall clock a test sets while they run.
//
// The clock of a machine is not set for a test, a Go program asks nobody whom a library could stand
// in for, and a time namespace has no wall clock of its own. So the programs are built once more,
// with another [time.Now]: all of a program asks it, the NATS server in it and its libraries
// included. What it does not reach is what is no wall clock in Go, timers and the measuring of
// spans, which a step of a machine's clock does not reach either, and the times that the kernel
// gives to files.
package clock
