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

// Scrub reads every byte of the server inside this process against its checksums while the log is
// in use: the log, what lies beside it, and the witness. It compares a log that is this server's
// alone with what was acknowledged before it began; of one whose server forms a cluster with others
// it reads the replicas that this one has. Files are read from the disk itself; pace is asked
// before each read. What it finds is in the inspection, with the codes of [Inspect]; the error is
// for what kept it from looking. Of a log in outside servers the inspection is empty.
func (l *Log) Scrub(ctx context.Context, pace diskread.Pace) (Inspection, error) {
	var n inspector
	scrub := l.scrubReplica
	switch {
	case l.attester != nil:
		n.attestations, scrub = l.acknowledged(), l.scrubStream
	case l.peer == nil:
		return n.Inspection, nil
	}
	streams, err := blockfile.Streams(l.storeDir())
	if err != nil {
		return n.Inspection, fmt.Errorf("eventlog: scrub: %w", err)
	}
	for _, s := range streams {
		if err := scrub(ctx, &n, s, pace); err != nil {
			return n.Inspection, fmt.Errorf("eventlog: scrub stream %s: %w", s.Name, err)
		}
	}
	if l.attester == nil {
		return n.Inspection, nil
	}
	return n.Inspection, scrubWitness(ctx, &n, l.cfg.witnessDir())
}

// acknowledged are the attestations of all that was acknowledged by now.
func (l *Log) acknowledged() witness.Attestations {
	attestations := l.attester.latest()
	for _, p := range l.publishers {
		m := attestations[streamName(p.partition)]
		m.Last = max(m.Last, p.stats.last.Load())
		attestations[streamName(p.partition)] = m
	}
	return attestations
}

// storeDir is where the server inside this process keeps its streams; empty if there is none.
func (l *Log) storeDir() string {
	switch {
	case l.server != nil:
		return filepath.Join(l.cfg.Dir, server.JetStreamStoreDir)
	case l.peer != nil:
		return filepath.Join(l.cfg.Peers.Dir, server.JetStreamStoreDir)
	}
	return ""
}

// scrubStream reads one stream.
func (l *Log) scrubStream(ctx context.Context, n *inspector, s blockfile.Stream, pace diskread.Pace) error {
	partition, attested := partitionOf(s.Name), n.attestations[s.Name]
	n.checkMeta(ctx, s)
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
	options := checking(partition, attested, pace, &differs)
	r, err := s.Check(ctx, options)
	if err == nil && partition >= 0 && r.Top < attested.Last {
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
	n.checked(s, attested.Created, &r, differs)
	if partition < 0 || len(r.Damage) > 0 || attested.Last == 0 {
		return nil
	}
	if r.Top < attested.Last {
		n.add(Finding{Code: CodeShorter, Fatal: true, Stream: s.Name, First: r.Top + 1, Last: attested.Last,
			What: fmt.Sprintf("its files end with entry %d, and entries up to %d were acknowledged", r.Top, attested.Last)})
	}
	// What retention has taken since is no loss.
	if now, _, err := l.Bounds(ctx, partition); err == nil && r.First > max(first, now) && r.Messages > 0 {
		n.add(Finding{Code: CodeEntriesMissing, Fatal: true, Stream: s.Name, First: max(first, now), Last: r.First - 1,
			What: fmt.Sprintf("its files begin with entry %d, the log with %d", r.First, max(first, now))})
	}
	return nil
}

// checkMeta reads a stream's configuration.
func (n *inspector) checkMeta(ctx context.Context, s blockfile.Stream) {
	if err := lasting(ctx, func() error { _, err := s.Meta(); return err }); err != nil {
		n.add(Finding{Code: metaCode(err), Fatal: true, Stream: s.Name, File: filepath.Join(s.Dir, "meta.inf"), What: err.Error()})
	}
}

// checking are the options to read a stream's blocks with; differs gets the first record that is
// whole and not what it should be.
func checking(partition int, attested witness.Attestation, pace diskread.Pace, differs *error) blockfile.Options {
	return blockfile.Options{
		Contiguous: partition >= 0, Pace: pace,
		Visit: func(r blockfile.Record) error {
			if *differs == nil {
				*differs = checkRecord(&r, partition, attested)
			}
			return nil
		},
	}
}

// checked notes what the blocks of a stream were found to hold.
func (n *inspector) checked(s blockfile.Stream, created time.Time, r *blockfile.Report, differs error) {
	n.Streams = append(n.Streams, StreamFiles{
		Stream: s.Name, Partition: partitionOf(s.Name), Created: created, First: r.First, Last: r.Last, Top: r.Top,
		Entries: r.Messages, LastTime: time.Unix(0, r.LastTime).UTC(), Bytes: r.Bytes, dir: s.Dir,
	})
	for _, d := range r.Damage {
		n.add(damageFinding(s.Name, d))
	}
	if f, ok := errors.AsType[*recordError](differs); ok {
		n.add(Finding{Code: f.code, Fatal: true, Stream: s.Name, First: f.sequence, Last: f.sequence, What: f.what})
	}
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

// DiskBytes is the size of the files of the server inside this process, if there is one: of its
// part of the log, and of what lies beside it.
func (l *Log) DiskBytes() (total int64) {
	dir := l.storeDir()
	if dir == "" {
		return 0
	}
	streams, err := blockfile.Streams(dir)
	if err != nil {
		return 0
	}
	for _, s := range streams {
		n, _ := s.Size()
		total += n
	}
	return total
}
