package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// sinkPatience is how long the doctor waits for an answer of ClickHouse.
const sinkPatience = 10 * time.Second

// SinkStatus is what ClickHouse has of the log.
type SinkStatus struct {
	clickhouse.Outline
	Partitions []SinkPosition `json:"partitions"`
}

// SinkPosition is what ClickHouse has of a partition.
type SinkPosition struct {
	Partition int `json:"partition"`
	// First and Last are the sequences of the first and last entry that it has, zeros if none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Log is the log's last one.
	Log uint64 `json:"log"`
}

// sink asks ClickHouse, if there is one, and compares it with the log.
func (x *Examination) sink(ctx context.Context, cfg config.Config) {
	dsn := cfg.Analytics.ClickHouse
	if dsn == "" {
		return
	}
	if err := x.askSink(ctx, dsn); err != nil {
		f := eventlog.Finding{Code: foundSinkAway, What: err.Error()}
		if errors.Is(err, clickhouse.ErrVersion) || errors.Is(err, clickhouse.ErrSchema) {
			f.Code, f.Fatal = foundSinkBad, true
		}
		x.add(f)
	}
}

func (x *Examination) askSink(ctx context.Context, dsn config.DSN) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sinkPatience)
	defer cancel()
	s, err := clickhouse.New(clickhouse.Options{DSN: dsn.Reveal(), Timeout: sinkPatience})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	outline, err := s.Inspect(ctx)
	if err != nil {
		return err
	}
	stand := SinkStatus{Outline: outline}
	for i := range x.Streams {
		if log := &x.Streams[i]; log.Partition >= 0 && outline.Filled {
			first, last, err := s.Archived(ctx, log.Partition)
			if err != nil {
				return fmt.Errorf("clickhouse: partition %d: %w", log.Partition, err)
			}
			stand.Partitions = append(stand.Partitions, SinkPosition{log.Partition, first.Sequence, last.Sequence, log.Top})
			if err := x.compareSink(ctx, log, last); err != nil {
				return err
			}
		}
	}
	x.ClickHouse = &stand
	return nil
}

// compareSink compares the last entry that ClickHouse has of a partition with the log.
func (x *Examination) compareSink(ctx context.Context, log *eventlog.StreamFiles, last clickhouse.Position) error {
	f := eventlog.Finding{Fatal: true, Stream: log.Stream, First: last.Sequence, Last: last.Sequence}
	switch {
	case last.Sequence > log.Top:
		f.Code, f.First = foundSinkOther, log.Top+1
		f.What = fmt.Sprintf("ClickHouse has entries up to %d, the log ends with %d", last.Sequence, log.Top)
	case log.First > last.Sequence+1:
		f.Code, f.First, f.Last = foundSinkGap, last.Sequence+1, log.First-1
		f.What = fmt.Sprintf("ClickHouse has entries up to %d, the log begins with %d", last.Sequence, log.First)
	case last.Sequence < max(log.First, 1):
		return nil // the entry has left the log
	default:
		got, err := log.FingerprintAt(ctx, last.Sequence)
		if errors.Is(err, eventlog.ErrNoEntry) || err == nil && got == last.Fingerprint {
			return nil
		}
		if err != nil {
			return err
		}
		f.Code, f.What = foundSinkOther, fmt.Sprintf("the last entry that ClickHouse has, %d, is another one in the log", last.Sequence)
	}
	x.add(f)
	return nil
}
