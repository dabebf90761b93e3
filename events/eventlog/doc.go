// Package eventlog is the log: one JetStream stream per partition, a publisher that stores many
// events with one fsync, and a reader that never skips an entry.
//
// What it promises:
//   - When [Ticket.Wait] returns nil, every event of the submit is in the log and, with
//     [FsyncAlways], on the disk: it survives kill -9 and power loss.
//   - Events of one partition are stored in the order of their submits, each exactly once, however
//     often the connection breaks in between.
//   - A submit is queued whole or not at all; queues are bounded, and a producer that is too fast
//     waits or is told [ErrOverloaded].
//   - A reader sees every entry once, in order, or gets an error that names what is missing.
//   - Streams are created when there are none and otherwise only looked at: a configuration that
//     differs stops [Open], and nothing is ever updated, repaired, purged or deleted.
package eventlog
