package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

// A replicated log has servers that know less than was acknowledged: a replica that lags, and a
// leader that was deposed and has not noticed yet, which takes 10 to 20 s. Neither can acknowledge
// anything, but both answer questions. So what they say is never a reason to give up, to take a log
// for shorter or a state for one of another log; only when it stays so for longer than any of them
// can be wrong.
const (
	staleMax   = 30 * time.Second
	staleEvery = 200 * time.Millisecond
)

// replicated reports whether several servers hold a partition.
func (l *Log) replicated(partition int) bool {
	return l.streams[partition].CachedInfo().Config.Replicas > 1
}

// Reach is [Log.Bounds] for a caller who knows of an entry: an answer that the log ends before it
// is returned only if it is certain. On a replicated log that takes half a minute.
func (l *Log) Reach(ctx context.Context, partition int, sequence uint64) (first, last uint64, err error) {
	first, last, err = l.Bounds(ctx, partition)
	if err != nil || last >= sequence || !l.replicated(partition) {
		return first, last, err
	}
	l.logger.Warn("a NATS server says that the log ends before an entry that it had; asking again, since it may be one that lags or was deposed",
		"partition", partition, "entry", sequence, "end", last)
	for began := time.Now(); time.Since(began) < l.cfg.hooks.staleAnswers(); {
		select {
		case <-time.After(staleEvery):
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
		if first, last, err = l.Bounds(ctx, partition); err != nil || last >= sequence {
			return first, last, err
		}
	}
	return first, last, nil
}

// leaderEntry is [Log.EntryAt] as the leader of a replicated partition answers it.
func (l *Log) leaderEntry(ctx context.Context, partition int, sequence uint64) (e Entry, err error) {
	err = l.request(ctx, func(ctx context.Context) error {
		m, err := leader.At(ctx, l.read.nc, streamName(partition), sequence)
		e = Entry{Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Data: m.Data, MsgID: producersName(m.Subject, m.Header.Get(jetstream.MsgIDHeader))}
		return err
	})
	switch {
	case errors.Is(err, leader.ErrNotFound):
		return Entry{}, fmt.Errorf("%w: partition %d, sequence %d", ErrNoEntry, partition, sequence)
	case err != nil:
		return Entry{}, fmt.Errorf("eventlog: read entry %d of partition %d: %w", sequence, partition, err)
	}
	return e, nil
}

// A try that is not answered is given up for the next one, which takes twice as long, up to
// settleTryMax. Why the log is not open is said when it is first known, and again after
// settleSayEvery or, if it is another reason by then, after settleTry.
const (
	settleTry      = time.Second
	settleTryMax   = 10 * time.Second
	settlePause    = 100 * time.Millisecond
	settleSayEvery = 10 * time.Second
)

// settle does a step of opening a log. With several nodes, what one finds may be half done by
// another one that starts at the same time, or no server or no leader may be there to ask yet; a
// request that meets another one like it may never be answered. So a step is done again, until it
// succeeds, shows what no repetition would mend, or ctx ends.
func (l *Log) settle(ctx context.Context, step func(context.Context) error) error {
	if l.cfg.Node == "" {
		return step(ctx)
	}
	began := time.Now()
	var said string
	var saidAt time.Time
	for limit := settleTry; ; limit = min(2*limit, settleTryMax) {
		try, cancel := context.WithTimeout(ctx, limit)
		err := step(try)
		cancel()
		if err == nil && said != "" {
			l.logger.Info("the log goes on opening: what it waited for is there", "after", time.Since(began).Round(time.Millisecond), "reason", said)
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrPartitions) || errors.Is(err, ErrStreamConfig) {
			return err
		}
		reason, silent := err.Error(), time.Since(saidAt)
		if silent >= settleSayEvery || silent >= settleTry && reason != said {
			l.logger.Info("the log is not open yet; trying again", "for", time.Since(began).Round(time.Millisecond), "reason", reason)
			said, saidAt = reason, time.Now()
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return err
		}
	}
}
