package eventlog

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Trim removes the entries of a partition before a sequence, for good. It is for the caller to know
// that they are kept elsewhere. Readers that need them get [ErrTrimmed]. To trim again changes
// nothing.
func (l *Log) Trim(ctx context.Context, partition int, before uint64) error {
	if err := l.checkPartition(partition); err != nil {
		return err
	}
	if before <= 1 { // which the server would take for everything
		return nil
	}
	if l.attester != nil {
		if err := l.attester.trimming(partition, before-1); err != nil {
			return fmt.Errorf("eventlog: trim partition %d before entry %d: %w", partition, before, err)
		}
	}
	err := l.request(ctx, func(ctx context.Context) error {
		return l.streams[partition].Purge(ctx, jetstream.WithPurgeSequence(before))
	})
	if err != nil {
		return fmt.Errorf("eventlog: trim partition %d before entry %d: %w", partition, before, err)
	}
	return nil
}
