// Package snapshot keeps states of partitions in the object store of the log's NATS server or
// cluster, for states to begin from that are empty or that the log cannot bring up to date.
//
// A snapshot is the files of a checkpoint, each an object by its hash, so that what has not changed
// since the snapshot before is not stored again, and a manifest with their hashes, the position,
// and the digest of the state. One node at a time makes them ([Maker], fenced by [cluster.Writer]);
// it reads each back and compares before it counts. The writer's note of a partition names the two
// that are kept. Whoever begins from one ([Reader]) believes nothing of it: checksums, digest,
// rules, and the entry that it stands on are compared again.
package snapshot
