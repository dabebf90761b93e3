package backup

import (
	"context"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// Restore writes all streams. Everything is compared with its checksum on the way.
func (b *Backup) Restore(ctx context.Context, to *eventlog.Restorer, progress func(Progress)) error {
	at := Progress{Total: b.Size()}
	for _, s := range b.Streams {
		err := to.Stream(s.Stream, []byte(s.Meta), s.Last, func(add func(blockfile.Record) error) error {
			return b.Records(ctx, s.Stream, func(r blockfile.Record) error {
				at.Bytes += int64(len(r.Subject) + len(r.Header) + len(r.Data) + recordOverhead)
				if progress != nil {
					progress(at)
				}
				return add(r)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
