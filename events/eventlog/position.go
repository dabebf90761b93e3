package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout is how long one request waits for its answer. A request is never answered if the
// cluster loses a server at that moment.
const requestTimeout = 3 * time.Second

// Position is an entry of a partition. Sequence 0 is before the first entry.
type Position struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
}

// Location is where one event is: its entry, and its index in that. A zero Sequence means that the
// event is not stored.
type Location struct {
	Partition int
	Sequence  uint64
	Index     int
}

// Bounds returns the sequences of the first and the last entry of a partition. If first > last,
// there are no entries; last is then the sequence of the last entry that was there, 0 if there
// never was one. While there is no connection Bounds waits for it, like everything that reads.
func (l *Log) Bounds(ctx context.Context, partition int) (first, last uint64, err error) {
	state, err := l.streamState(ctx, partition)
	if err != nil {
		return 0, 0, err
	}
	if first = state.FirstSeq; state.Msgs == 0 {
		first = state.LastSeq + 1
	}
	first, err = l.bounds(ctx, partition, first)
	return first, state.LastSeq, err
}

// Size returns how many entries a partition holds and how many bytes they take in the files of the
// log.
func (l *Log) Size(ctx context.Context, partition int) (entries, bytes uint64, err error) {
	state, err := l.streamState(ctx, partition)
	return state.Msgs, state.Bytes, err
}

// streamState asks the server for the state of a partition's stream.
func (l *Log) streamState(ctx context.Context, partition int) (state jetstream.StreamState, err error) {
	if err := l.checkPartition(partition); err != nil {
		return state, err
	}
	err = l.request(ctx, func(ctx context.Context) error {
		info, err := l.streams[partition].Info(ctx)
		if err == nil {
			state = info.State
		}
		return err
	})
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("eventlog: look up the state of partition %d: %w", partition, err)
	}
	if change := l.cfg.hooks.state; change != nil {
		change(&state)
	}
	return state, nil
}

// EntryAt returns the entry with a sequence. The error wraps [ErrNoEntry] if the log has none.
func (l *Log) EntryAt(ctx context.Context, partition int, sequence uint64) (Entry, error) {
	if err := l.checkPartition(partition); err != nil {
		return Entry{}, err
	}
	if sequence == 0 { // which the server would take for the last one
		return Entry{}, fmt.Errorf("%w: partition %d, sequence 0", ErrNoEntry, partition)
	}
	home, _ := l.home(partition, sequence)
	if l.replicated(home) {
		e, err := l.leaderEntry(ctx, home, sequence)
		e.Partitions = l.partitionsAt(partition, sequence)
		return e, err
	}
	var m *jetstream.RawStreamMsg
	err := l.request(ctx, func(ctx context.Context) (err error) {
		m, err = l.streams[home].GetMsg(ctx, sequence)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Entry{}, fmt.Errorf("%w: partition %d, sequence %d", ErrNoEntry, partition, sequence)
	case err != nil:
		return Entry{}, fmt.Errorf("eventlog: read entry %d of partition %d: %w", sequence, partition, err)
	}
	return Entry{
		Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Data: m.Data, MsgID: producersName(m.Subject, m.Header.Get(jetstream.MsgIDHeader)),
		Partitions: l.partitionsAt(partition, sequence),
	}, nil
}

// Fingerprint tells an entry from any other one that might get its sequence in a log that lost its
// tail and grew again: it covers the sequence, the broker's time to the nanosecond, and the data. A
// checkpoint has the fingerprint of the entry that it stands on.
func Fingerprint(e Entry) uint64 {
	var head [16]byte
	var d xxhash.Digest
	d.Reset()
	binary.LittleEndian.PutUint64(head[:8], e.Sequence)
	binary.LittleEndian.PutUint64(head[8:], uint64(e.Time.UnixNano()))
	d.Write(head[:])
	d.Write(e.Data)
	return d.Sum64()
}

func (l *Log) checkPartition(partition int) error {
	if partition < 0 || partition >= len(l.streams) {
		return fmt.Errorf("eventlog: no partition %d, the log has %d", partition, len(l.streams))
	}
	return nil
}

// request sends a request to the server, and sends it again if the connection broke, or no answer
// came, or one that nobody can tell for now, until ctx ends.
func (l *Log) request(ctx context.Context, f func(context.Context) error) error {
	for {
		if err := l.read.ready(ctx); err != nil {
			return err
		}
		try, cancel := l.read.requestContext(ctx, requestTimeout)
		err := f(try)
		unanswered := try.Err() != nil
		cancel()
		switch {
		case l.read.nc.IsClosed():
			return ErrClosed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrReconnectBufExceeded): // not yet known to be disconnected
			time.Sleep(time.Millisecond)
		case unavailable(err):
			select {
			case <-time.After(settlePause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case err == nil || !unanswered:
			return err
		}
	}
}

// codeUnavailable is JetStream's error code of a server that cannot tell for now: it has just
// started, say.
const codeUnavailable = 10008

func unavailable(err error) bool {
	refused, is := errors.AsType[*jetstream.APIError](err)
	return is && refused.ErrorCode == codeUnavailable
}
