package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Position is a place in the log: an entry of a partition. Sequence 0 is before the first entry.
type Position struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
}

// Location is where one event is: the entry, and the event's index in it. A zero Sequence means
// that the event is not stored.
type Location struct {
	Partition int
	Sequence  uint64
	Index     int
}

// Bounds returns the sequences of the first and the last entry of a partition. The partition has no
// entries when first > last; last is then the sequence of the entry that was there last, 0 if there
// never was one. While there is no connection, Bounds waits for it, as the other readers' methods do.
func (l *Log) Bounds(ctx context.Context, partition int) (first, last uint64, err error) {
	stream, err := l.stream(ctx, partition)
	if err != nil {
		return 0, 0, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, 0, l.readError("look up the bounds of partition", partition, err)
	}
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1, info.State.LastSeq, nil
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// EntryAt returns one entry. The error is [ErrNoEntry] when the log has none with the sequence.
func (l *Log) EntryAt(ctx context.Context, partition int, sequence uint64) (Entry, error) {
	stream, err := l.stream(ctx, partition)
	if err != nil {
		return Entry{}, err
	}
	if sequence == 0 {
		return Entry{}, fmt.Errorf("%w: partition %d, sequence 0", ErrNoEntry, partition)
	}
	m, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Entry{}, fmt.Errorf("%w: partition %d, sequence %d", ErrNoEntry, partition, sequence)
	}
	if err != nil {
		return Entry{}, l.readError("read an entry of partition", partition, err)
	}
	return Entry{Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Data: m.Data}, nil
}

// Fingerprint tells an entry from any other that might have its sequence, in a log that lost its
// tail and grew again: it covers the sequence, the broker's time to the nanosecond, and the data. A
// checkpoint keeps the fingerprint of the entry it stands on.
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

// stream returns the stream of a partition once there is a connection.
func (l *Log) stream(ctx context.Context, partition int) (jetstream.Stream, error) {
	if err := l.checkPartition(partition); err != nil {
		return nil, err
	}
	return l.streams[partition], l.read.ready(ctx)
}

func (l *Log) checkPartition(partition int) error {
	if partition < 0 || partition >= len(l.streams) {
		return fmt.Errorf("eventlog: no partition %d, the log has %d", partition, len(l.streams))
	}
	return nil
}

// readError names the step, and the closed log where that is the reason.
func (l *Log) readError(step string, partition int, err error) error {
	switch {
	case l.read.nc.IsClosed():
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		err = fmt.Errorf("%w: not connected to NATS", ErrUnavailable)
	}
	return fmt.Errorf("eventlog: %s %d: %w", step, partition, err)
}
