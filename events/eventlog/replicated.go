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

// leaderEntry is [Log.EntryAt] as the leader of a replicated partition answers it. A leader whose
// replica was damaged may lack an entry that others have, and NATS servers do not mend that:
// another one is made to lead then, until each has been asked.
func (l *Log) leaderEntry(ctx context.Context, partition int, sequence uint64) (Entry, error) {
	for tries := l.streams[partition].CachedInfo().Config.Replicas; ; tries-- {
		e, err := l.askLeader(ctx, partition, sequence)
		if !errors.Is(err, ErrNoEntry) || tries <= 1 || !l.depose(ctx, partition, sequence) {
			return e, err
		}
	}
}

func (l *Log) askLeader(ctx context.Context, partition int, sequence uint64) (e Entry, err error) {
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

// depose has the leader of a partition step down if it lacks an entry between those that it has. It
// reports whether there is another one now.
func (l *Log) depose(ctx context.Context, partition int, sequence uint64) bool {
	first, last, err := l.Bounds(ctx, partition)
	if err != nil || sequence < first || sequence > last {
		return false // it has left the log, or was never in it
	}
	was, err := l.leaderOf(ctx, partition)
	if err != nil || was == "" {
		return err == nil
	}
	l.logger.Error("the leader of a partition lacks an entry that lies between others: its files are damaged; another server is to lead, and this one needs a new replica",
		"partition", partition, "entry", sequence, "server", was)
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := l.read.nc.RequestWithContext(try, "$JS.API.STREAM.LEADER.STEPDOWN."+streamName(partition), nil); err != nil {
		l.logger.Warn("the leader of a partition was not asked to step down", "partition", partition, "error", err)
		return false
	}
	for end := time.Now().Add(settleTryMax); time.Now().Before(end); {
		if now, err := l.leaderOf(ctx, partition); err == nil && now != "" && now != was {
			return true
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// leaderOf is the name of the server that leads a partition; empty if none does now.
func (l *Log) leaderOf(ctx context.Context, partition int) (name string, err error) {
	err = l.request(ctx, func(ctx context.Context) error {
		info, err := l.streams[partition].Info(ctx)
		if err == nil && info.Cluster != nil {
			name = info.Cluster.Leader
		}
		return err
	})
	return name, err
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
