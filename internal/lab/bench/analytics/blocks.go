package analytics

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// nothing is a backing that is always empty: the state stays in memory.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)                               { return nil, nil }
func (nothing) Scan([]byte, func(key, value []byte) error) error         { return nil }
func (nothing) Range(_, _ []byte, _ func(key, value []byte) error) error { return nil }

// folder folds events into blocks, without a sink.
type folder struct {
	part  *projections.Partition
	block *clickhouse.Block
	batch events.Batch
	facts []projections.Fact
}

func (f *folder) open(partition int) (err error) {
	f.block = &clickhouse.Block{Partition: partition}
	f.part, err = projections.Open(partition, nothing{}, projections.Options{CacheBytes: 1 << 40, TrackFacts: true, TrackCohorts: true})
	return err
}

// fold folds the batch and adds it to the block.
func (f *folder) fold(x projections.Decoded) error {
	x.Batch = &f.batch
	outcomes, err := f.part.Apply(x)
	if err != nil {
		return err
	}
	f.facts = f.part.TakeFacts(f.facts[:0])
	return f.block.Add(&x, outcomes, f.facts)
}

// makeAgain folds the log once more to rebuild the blocks of the inserts.
func makeAgain(ctx context.Context, log *eventlog.Log, inserts []*insert) error {
	group, ctx := errgroup.WithContext(ctx)
	for k := range log.Partitions() {
		var blocks []*insert
		for _, i := range inserts {
			if i.token != "" && i.partition == k {
				blocks = append(blocks, i)
			}
		}
		group.Go(func() error { return makeBlocks(ctx, log, k, blocks) })
	}
	return group.Wait()
}

func makeBlocks(ctx context.Context, log *eventlog.Log, partition int, blocks []*insert) error {
	r, err := log.Read(ctx, partition, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	var f folder
	if err := f.open(partition); err != nil {
		return err
	}
	for _, i := range blocks {
		for f.block.Last != i.last {
			e, err := r.Next(ctx)
			if err == nil {
				err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, log.Partitions(), &f.batch)
			}
			if err == nil {
				err = f.fold(projections.Decoded{Sequence: e.Sequence, At: e.Time.UnixMilli(), Fingerprint: eventlog.Fingerprint(e)})
			}
			if err != nil {
				return err
			}
		}
		if token := f.block.Token(0); token != i.token {
			return fmt.Errorf("%s came out as %s", i.token, token)
		}
		i.block, f.block = f.block, f.block.Next(nil)
	}
	return nil
}
