// Package analytics fills ClickHouse: it folds the log by itself, beside the live state, and puts
// every event with what came of it into a [Sink], exactly once. The sink says where to go on; the
// state kept here is only ever a checkpoint of the fold, and never ahead of the sink.
//
// In each partition entries pass through three stages, a goroutine each: foldstage.go folds them
// into blocks, which are then encoded and at last inserted (write.go). The block being inserted is
// on the disk as an intent (intent.go), so that whoever continues after a crash sends the same one.
package analytics
