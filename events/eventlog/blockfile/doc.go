// Package blockfile reads the files in which nats-server keeps a stream, without the server.
//
// nats-server recovers what it can and cuts off the rest: of a block file with a bad record it
// keeps what comes before it, and a stream whose files cannot be opened it removes and makes anew.
// That is right for a replica, whose peers have the rest. The embedded log has no peers, so its
// files are read through before the server may touch them. This package finds out what is in them
// and what is wrong with them; it never writes.
//
// A stream lies in a directory of its own:
//
//	meta.inf, meta.sum   its configuration, and a hash of it keyed with the directory's name
//	msgs/N.blk           blocks of records, in the order of N
//	msgs/index.db        a summary of the blocks, made anew from them when it is missing or stale
//
// A record is
//
//	length(4) sequence(8) time(8) subject length(2) subject [header length(4) header] data hash(8)
//
// in little endian, the length being that of the whole record. The top bit of the length says that
// there is a header. The two top bits of the sequence mark a record that stands for an erased
// message, or for one that was deleted elsewhere (a tombstone). The hash is HighwayHash-64, keyed
// with the SHA-256 of the stream's name and the block's number, over everything but the lengths.
// The format is the one that nats-server 2.10 to 2.15 writes; its version is pinned in go.mod, and
// a test reads what the pinned server writes.
package blockfile
