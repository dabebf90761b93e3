// Package projections holds the folds: what a log entry does to the state of its partition.
//
// A fold is deterministic and does no I/O of its own: the state before, the entry and the broker's
// time decide everything, so the same log always gives the same state, byte for byte, however it
// was batched, cached, stopped and continued. The rules are in docs/rules.md. Values that are not
// in memory come from a [Backing]; what changed is handed over as a [Checkpoint].
package projections
