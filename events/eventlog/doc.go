// Package eventlog is the log: one JetStream stream for each partition, a publisher that stores
// many events with one fsync, and a reader that never skips an entry.
//
// What it guarantees:
//   - When [Ticket.Wait] returns nil, every event of the submit is in the log and, with
//     [FsyncAlways], on the disk: it survives kill -9 and power loss.
//   - Events of one partition are stored in the order of their submits, each exactly once, however
//     often the connection breaks in between.
//   - A submit is queued as a whole or not at all. Queues are bounded: a producer that is too fast
//     waits, or gets [ErrOverloaded].
//   - A reader returns every entry once, in order, or an error that names what is missing.
//   - Streams are created when there are none, and otherwise only looked at: a configuration that
//     differs stops [Open], and no stream is changed, repaired or deleted, unless its creation was
//     cut off and it holds nothing. Entries are removed by [Log.Trim] alone.
//
// Where to begin: [Open] with Config.Dir makes an embedded log, for one process at a time; with
// Config.URL it opens one in a NATS cluster, which any number of programs share with a receiptd.
// Then [Log.Submit] stores events and [Log.Read] reads entries. To go through a log without regard
// to broken connections use package consumers, and to have the rules applied, package projections.
// A program that talks to a running receiptd needs none of it: schema/client does.
package eventlog
