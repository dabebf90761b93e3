package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/diskread"
)

// scrubReplica reads the replica of a stream that the server of a node has. Servers neither compare
// their replicas nor read them again: what a disk has spoilt in one is found when it is read, which
// of a follower's may be never. A replica may lag, so where it ends is no finding.
func (l *Log) scrubReplica(ctx context.Context, n *inspector, s blockfile.Stream, pace diskread.Pace) error {
	found := inspector{} // kept for as long as the replica is this server's
	found.checkMeta(ctx, s)
	partition := partitionOf(s.Name)
	var differs error
	r, err := s.Check(ctx, checking(partition, witness.Attestation{}, pace, &differs))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		found.add(Finding{Code: CodeUnreadable, Fatal: true, Stream: s.Name, What: err.Error()})
	} else {
		found.checked(s, time.Time{}, &r, differs)
		if err := l.checkBegin(ctx, &found, s.Name, partition, &r); err != nil {
			return err
		}
	}
	if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil // the stream was deleted meanwhile, or is another server's now
	}
	n.Streams = append(n.Streams, found.Streams...)
	n.Findings = append(n.Findings, found.Findings...)
	return nil
}

// checkBegin finds entries that are missing before the first one of a replica: the server cuts off
// what is damaged when it starts, and goes on with what follows. What retention takes is gone from
// one replica before it is from another, and from the files before the leader says so.
func (l *Log) checkBegin(ctx context.Context, n *inspector, stream string, partition int, r *blockfile.Report) error {
	if partition < 0 || partition >= len(l.streams) || r.Messages == 0 {
		return nil
	}
	var first uint64
	for began := time.Now(); ; {
		var err error
		if first, _, err = l.Bounds(ctx, partition); err != nil {
			return err
		}
		if first >= r.First {
			return nil
		}
		if time.Since(began) > l.cfg.hooks.staleAnswers() {
			break
		}
		if err := pauseFor(ctx, staleEvery); err != nil {
			return err
		}
	}
	n.add(Finding{Code: CodeEntriesMissing, Fatal: true, Stream: stream, First: first, Last: r.First - 1,
		What: fmt.Sprintf("its files begin with entry %d, the log with %d", r.First, first)})
	return nil
}
