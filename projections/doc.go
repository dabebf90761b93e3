// Package projections holds the folds: what a log entry does to the state of its partition.
//
// A fold is deterministic and does no I/O of its own: the state before, the entry and the broker's
// time decide everything, so the same log always gives the same state, byte for byte, however it
// was batched, cached, stopped and continued. The rules are in docs/rules.md; each is decided in
// one of these files:
//
//	app.configured                     app_configured.go
//	conversation.marked_unread         conversation_marked_unread.go
//	conversation.read                  conversation_read.go
//	group.created, …, group.dissolved  group.go
//	message.delivered, message.read    message_receipt.go, and parked.go for those that come too early
//	message.recalled                   message_recalled.go
//	message.sent                       message_sent.go
//	rules.level                        level.go
//	log.repartitioned                  repartition.go, split.go
//	statistic.seen                     statistic_seen.go
//	user.configured                    user_configured.go, and member_extra.go for one conversation
//
// An event that carries an id and comes again is recognised before all of that, in repeats.go; one
// that is imported and states its own time is let in, or not, by imported.go.
//
// Values that are not in memory come from a [Backing]. What changed is handed over as a
// [Checkpoint], and what consumers follow is taken with the Take methods of [Partition].
//
// Where to begin: [Open] a [Partition], have it Apply the entries of a log's partition in their
// order, and ask it: Message, Readers, Conversations and so on. Package consumers hands entries on
// as they are needed here, package store keeps checkpoints in Pebble.
package projections
