package eventlog

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// Trim removes the entries of a partition before a sequence, for good. It is for the caller to know
// that they are kept elsewhere. Readers that need them get [ErrTrimmed]. To trim again changes
// nothing. Entries that partitions have in common leave when each of these was trimmed.
func (l *Log) Trim(ctx context.Context, partition int, before uint64) error {
	if err := l.checkPartition(partition); err != nil {
		return err
	}
	if before <= 1 { // which the server would take for everything
		return nil
	}
	return l.trimHome(ctx, partition, before)
}

// trimStream removes the entries of a stream.
func (l *Log) trimStream(ctx context.Context, partition int, before uint64) error {
	if l.attester != nil {
		if err := l.attester.trimming(partition, before-1); err != nil {
			return err
		}
	}
	return l.request(ctx, func(ctx context.Context) error {
		return l.streams[partition].Purge(ctx, jetstream.WithPurgeSequence(before))
	})
}
