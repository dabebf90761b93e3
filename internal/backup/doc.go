// Package backup copies what a log's server holds to another place, incrementally, and back.
//
// A backup is a directory:
//
//	manifest.json           what the backup holds, with checksums; its last line is its own
//	streams/NAME/N.blk      messages of a stream, in nats-server's format for block files
//	secrets/NAME            token.key, admin.key and log.key, if they were asked for
//
// Files are written once, synced, and named by the manifest only after that, which is replaced in
// one step at the end. So whenever a backup is cut off, the one before it is whole, and the next
// one goes on with the blocks that are there.
//
// # The cut
//
// Streams are copied while they grow. What refers to something is copied before what it refers to:
// positions of devices before the inboxes whose sequences they name, both before the partitions of
// the log, in which every message of an inbox was before it got there. So nothing in a backup
// refers to what is missing in it. What the log has and the inboxes lack is what was sent in the
// moment between the two copies; like after a crash at that point, it counts and reaches no device.
// To keep that moment short, all that fills whole blocks is copied in a first round. Each partition
// ends with the entry on which its state stood when that was taken for its digest.
//
// # The way
//
// [Send] writes a stream of tar, which says what is sent, sends the blocks and says what they stand
// for; [Dir.Receive] and [Pack] take it, be it from a server over HTTP or from the same process.
package backup
