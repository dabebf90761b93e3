package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/leader"
)

// Holding is what one stream of the log's server holds: a partition of the log, or what
// lies beside it, accounts and inboxes.
type Holding struct {
	Stream string
	// Partition is -1 for a stream that is none of the log's.
	Partition int
	Created   time.Time
	// First and Last are sequences. First > Last if there is nothing in it now.
	First, Last uint64
	Entries     uint64
	Bytes       uint64
	// Meta is the server's text of the stream's configuration.
	Meta []byte
}

// Holdings lists all streams of an embedded log's server, and those of a cluster that are
// receiptd's, without what only concerns its nodes; those beside the log first, in the order of
// their names.
func (l *Log) Holdings(ctx context.Context) ([]Holding, error) {
	js, err := jetstream.New(l.read.nc)
	if err != nil {
		return nil, fmt.Errorf("eventlog: %w", err)
	}
	var beside, log []Holding
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		h := Holding{
			Stream: info.Config.Name, Partition: partitionOf(info.Config.Name), Created: info.Created.UTC(),
			First: info.State.FirstSeq, Last: info.State.LastSeq, Entries: info.State.Msgs, Bytes: info.State.Bytes,
		}
		if h.Entries == 0 {
			h.First = h.Last + 1
		}
		if l.server == nil && !ours(h.Stream) {
			continue
		}
		if h.Meta, err = l.metaText(info); err != nil {
			return nil, fmt.Errorf("eventlog: configuration of stream %s: %w", h.Stream, err)
		}
		if h.Partition >= 0 {
			log = append(log, h)
		} else {
			beside = append(beside, h)
		}
	}
	if err := streams.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("eventlog: list streams: %w", err)
	}
	slices.SortFunc(beside, func(a, b Holding) int { return slices.Compare([]byte(a.Stream), []byte(b.Stream)) })
	slices.SortFunc(log, func(a, b Holding) int { return a.Partition - b.Partition })
	return append(beside, log...), nil
}

// ours reports whether a stream of a server that others may use too is receiptd's, and outlives the
// cluster: secrets, page sessions and what its nodes agree on do not.
func ours(stream string) bool {
	switch stream {
	case "KV_receiptd_cluster", "KV_receiptd_sessions", "KV_" + RestoreClaim:
		return false
	}
	return partitionOf(stream) >= 0 || strings.HasPrefix(stream, "RECEIPTD_") ||
		strings.HasPrefix(stream, "KV_receiptd_") || strings.HasPrefix(stream, "OBJ_receiptd_")
}

// metaText is the server's text of a stream's configuration: that of its file, or what it writes of
// what it answers.
func (l *Log) metaText(info *jetstream.StreamInfo) ([]byte, error) {
	if l.server != nil {
		files := l.server.files(info.Config.Name)
		return files.MetaText()
	}
	config := info.Config
	config.Metadata = maps.Clone(config.Metadata)
	for _, of := range []string{"_nats.ver", "_nats.level"} { // what it adds when it answers
		delete(config.Metadata, of)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return blockfile.WithCreated(text, info.Created.UTC())
}

// Copy calls visit with what a stream of the log's server holds after a sequence, in order: up to a
// sequence, if upto is not 0, or until nothing more is there. The record is visit's to keep.
func (l *Log) Copy(ctx context.Context, stream string, after, upto uint64, visit func(blockfile.Record) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("eventlog: copy stream %s: %w", stream, err)
		}
	}()
	js, err := jetstream.New(l.read.nc)
	if err != nil {
		return err
	}
	consumer, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Description: "receiptd backup", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1, MemoryStorage: true, Replicas: 1, InactiveThreshold: readInactive,
	})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		_ = js.DeleteConsumer(end, stream, consumer.CachedInfo().Name)
	}()
	if upto != 0 && upto <= after {
		return nil
	}
	if consumer.CachedInfo().NumPending == 0 {
		if end, err := l.endsAt(ctx, stream, after); end || err != nil {
			return err
		}
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(aheadEntries, aheadBytes), jetstream.PullHeartbeat(readHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for number := uint64(1); ; number++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != number {
			return errors.New("messages were lost on the way; try again")
		}
		sequence := meta.Sequence.Stream
		if upto != 0 && sequence > upto {
			return nil
		}
		err = visit(blockfile.Record{
			Sequence: sequence, Time: meta.Timestamp.UnixNano(), Subject: []byte(m.Subject()), Header: rawHeader(m.Headers()), Data: m.Data(),
		})
		if err != nil || sequence == upto {
			return err
		}
		if meta.NumPending == 0 {
			if end, err := l.endsAt(ctx, stream, sequence); end || err != nil {
				return err
			}
		}
	}
}

// endsAt reports whether a stream has nothing after a sequence. In a cluster the consumer may be at
// a server that lags, so that its leader is asked.
func (l *Log) endsAt(ctx context.Context, stream string, sequence uint64) (bool, error) {
	if l.server != nil {
		return true, nil
	}
	_, err := leader.Next(ctx, l.read.nc, stream, sequence+1, ">")
	if errors.Is(err, leader.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// rawHeader is a header as the server stores it.
func rawHeader(h nats.Header) []byte {
	if len(h) == 0 {
		return nil
	}
	b := []byte("NATS/1.0\r\n")
	for _, key := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[key] {
			b = append(b, key+": "+value+"\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// files is the directory of one of the server's streams.
func (e *embedded) files(stream string) blockfile.Stream {
	return blockfile.Stream{Dir: streamDir(e.dir, stream), Name: stream}
}
