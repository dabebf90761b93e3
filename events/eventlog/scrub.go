package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/diskread"
)

// Scrub reads every byte of an embedded log, of what lies beside it in the same server, and of the
// witness against their checksums while the log is in use, and compares the log with what was
// acknowledged before it began. Files are read from the disk itself; pace is asked before each
// read. What it finds is in the inspection, with the codes of [Inspect]; the error is for what kept
// it from looking. Of a log in a cluster, outside or of the nodes' own servers, the inspection is
// empty: what each server has of it is not all that was acknowledged.
func (l *Log) Scrub(ctx context.Context, pace diskread.Pace) (Inspection, error) {
	if l.attester == nil {
		return Inspection{}, nil
	}
	marks := l.attester.latest()
	for _, p := range l.publishers {
		m := marks[streamName(p.partition)]
		m.Last = max(m.Last, p.stats.last.Load())
		marks[streamName(p.partition)] = m
	}
	n := inspector{marks: marks}
	streams, err := blockfile.Streams(filepath.Join(l.cfg.Dir, server.JetStreamStoreDir))
	if err != nil {
		return n.Inspection, fmt.Errorf("eventlog: scrub: %w", err)
	}
	for _, s := range streams {
		if err := l.scrubStream(ctx, &n, s, pace); err != nil {
			return n.Inspection, fmt.Errorf("eventlog: scrub stream %s: %w", s.Name, err)
		}
	}
	return n.Inspection, scrubWitness(ctx, &n, l.cfg.witnessDir())
}

// scrubStream reads one stream.
func (l *Log) scrubStream(ctx context.Context, n *inspector, s blockfile.Stream, pace diskread.Pace) error {
	partition, mark := partitionOf(s.Name), n.marks[s.Name]
	if err := lasting(ctx, func() error { _, err := s.Meta(); return err }); err != nil {
		n.add(Finding{Code: metaCode(err), Fatal: true, Stream: s.Name, File: filepath.Join(s.Dir, "meta.inf"), What: err.Error()})
	}
	first := uint64(0)
	if partition >= 0 && partition < len(l.streams) {
		state, err := l.streamState(ctx, partition)
		if err != nil {
			return err
		}
		if first = state.FirstSeq; state.Msgs == 0 {
			first = state.LastSeq + 1
		}
	}
	var differs error
	options := blockfile.Options{
		Contiguous: partition >= 0, Pace: pace,
		Visit: func(r blockfile.Record) error {
			if differs == nil {
				differs = checkRecord(&r, partition, mark)
			}
			return nil
		},
	}
	r, err := s.Check(ctx, options)
	if err == nil && partition >= 0 && r.Top < mark.Last {
		// Syncing at intervals, the server may write what it acknowledged a moment later.
		if err = pauseFor(ctx, 2*embeddedSyncPeriod); err == nil {
			r, err = s.Check(ctx, options)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		n.add(Finding{Code: CodeUnreadable, Fatal: true, Stream: s.Name, What: err.Error()})
		return nil
	}
	n.Streams = append(n.Streams, StreamFiles{
		Stream: s.Name, Partition: partition, Created: mark.Created, First: r.First, Last: r.Last, Top: r.Top,
		Entries: r.Messages, LastTime: time.Unix(0, r.LastTime).UTC(), Bytes: r.Bytes, dir: s.Dir,
	})
	for _, d := range r.Damage {
		n.add(damageFinding(s.Name, d))
	}
	if f, ok := errors.AsType[*recordError](differs); ok {
		n.add(Finding{Code: f.code, Fatal: true, Stream: s.Name, First: f.sequence, Last: f.sequence, What: f.what})
	}
	if partition < 0 || len(r.Damage) > 0 || mark.Last == 0 {
		return nil
	}
	if r.Top < mark.Last {
		n.add(Finding{Code: CodeShorter, Fatal: true, Stream: s.Name, First: r.Top + 1, Last: mark.Last,
			What: fmt.Sprintf("its files end with entry %d, and entries up to %d were acknowledged", r.Top, mark.Last)})
	}
	// What retention has taken since is no loss.
	if now, _, err := l.Bounds(ctx, partition); err == nil && r.First > max(first, now) && r.Messages > 0 {
		n.add(Finding{Code: CodeEntriesMissing, Fatal: true, Stream: s.Name, First: max(first, now), Last: r.First - 1,
			What: fmt.Sprintf("its files begin with entry %d, the log with %d", r.First, max(first, now))})
	}
	return nil
}

func metaCode(err error) string {
	if errors.Is(err, blockfile.ErrDamaged) {
		return CodeMetaDamaged
	}
	return CodeUnreadable
}

// damageFinding is what a damage of a stream's files is called.
func damageFinding(stream string, d blockfile.Damage) Finding {
	code := CodeBlockDamaged
	if d.What == blockfile.Missing {
		code = CodeEntriesMissing
	}
	return Finding{Code: code, Fatal: true, Stream: stream, File: d.File, Offset: d.Offset, First: d.First, Last: d.Last, What: d.What}
}

// scrubWitness reads both files of the witness, of which a start needs one.
func scrubWitness(ctx context.Context, n *inspector, dir string) error {
	for _, path := range witness.Files(dir) {
		err := lasting(ctx, func() error { return witness.Check(path) })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			n.add(Finding{Code: CodeWitnessDamaged, File: path, What: err.Error()})
		}
	}
	return ctx.Err()
}

// lasting is an error that stays through several tries: the file may be being written.
func lasting(ctx context.Context, f func() error) (err error) {
	for range 5 {
		if err = f(); err == nil || ctx.Err() != nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DiskBytes is the size of an embedded log's files, with what lies beside it.
func (l *Log) DiskBytes() (total int64) {
	if l.server == nil {
		return 0
	}
	streams, err := blockfile.Streams(filepath.Join(l.cfg.Dir, server.JetStreamStoreDir))
	if err != nil {
		return 0
	}
	for _, s := range streams {
		n, _ := s.Size()
		total += n
	}
	return total
}
