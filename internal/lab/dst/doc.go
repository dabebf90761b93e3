// Package dst is deterministic simulation: the product's publisher, reader, loop, folds,
// checkpoints, generations and pushes, unchanged, in a world that one seed decides.
//
// The world is a broker that speaks enough of NATS and JetStream over pipes in memory (see
// [broker]), a disk that keeps what was synced (see [disk]), a clock that stands still while
// anybody computes (package testing/synctest), and a driver that does one thing at a time and waits
// until all is quiet. Every fault is the driver's: it arms what becomes of the next tries,
// deliveries and disk operations, in the order in which they come. Nothing that depends on the
// scheduling of goroutines is drawn from the seed, and nothing in the trace depends on it, so a
// seed repeats.
//
// A run is a series of lives: a start, some steps, and an end, which is a stop in good order or a
// crash between two durable steps. What must hold is checked in every life and at the end: against
// the entries that the broker kept, and against package oracle.
package dst
