package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// A log that is restored into a cluster says so in the metadata of its streams.
const (
	// metaRestoring names the backup while streams are brought in. The log is there once that of
	// partition 0 has metaRestored in its place.
	metaRestoring = "receiptd.restoring"
	metaRestored  = "receiptd.restored"
	// metaCreated is when a stream was made, for [Log.Identity]: the servers of a restored one each
	// have a time of their own for it.
	metaCreated = "receiptd.created"
)

// RestoreClaim is the bucket in which who restores a log into a cluster claims to be the only one.
// As long as it is there and the log is not, nobody begins an empty one.
const RestoreClaim = "receiptd_restore"

var (
	// ErrRestoring: a log is being restored into the cluster, and not all of it is there yet.
	ErrRestoring = errors.New("eventlog: a log is being restored into this cluster, and is not whole yet; " +
		"if that was cut off, begin it again where it was begun")
	// ErrOccupied: the cluster has a stream already that a restore would have to replace.
	ErrOccupied = errors.New("eventlog: the cluster has a log of receiptd, or what is left of one; a restore overwrites nothing")
)

// Mover brings the streams of a stopped embedded log into the JetStream of another server, each
// with its sequences, times and subjects, and then makes it the log there. Whoever moves must be
// the only one who does: see [RestoreClaim].
type Mover struct {
	Conn *nats.Conn
	// Dir is the directory of the embedded log, Witness that of its witness.
	Dir, Witness string
	// Replicas is how many servers hold each stream from then on.
	Replicas int
	// Backup names what is restored; see [Restored].
	Backup string
	// Progress, if set, is told how many bytes of about how many were sent.
	Progress func(sent, total int64)
	Logger   *slog.Logger

	js           jetstream.JetStream
	attestations witness.Attestations
	sent, total  int64
	// partAfter replaces partTimeout in tests.
	partAfter time.Duration
}

// Restored says which backup the log of a server was restored from, empty if from none. The error
// wraps [jetstream.ErrStreamNotFound] if there is no log, and [ErrRestoring] if it is not whole.
func Restored(ctx context.Context, nc *nats.Conn) (backup string, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return "", fmt.Errorf("eventlog: %w", err)
	}
	first, err := js.Stream(ctx, streamName(0))
	if err != nil {
		return "", fmt.Errorf("eventlog: look up stream %s: %w", streamName(0), err)
	}
	metadata := first.CachedInfo().Config.Metadata
	if metadata[metaRestoring] != "" {
		return "", ErrRestoring
	}
	return metadata[metaRestored], nil
}

// Occupied reports with [ErrOccupied] whether the server has one of the streams already, or one of
// others that may not be there.
func (m *Mover) Occupied(ctx context.Context, others ...string) error {
	streams, err := m.open()
	if err != nil {
		return err
	}
	for _, s := range streams {
		others = append(others, s.Name)
	}
	for _, name := range others {
		_, err := m.js.Stream(ctx, name)
		if err == nil {
			return fmt.Errorf("%w: stream %s", ErrOccupied, name)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("eventlog: look up stream %s: %w", name, err)
		}
	}
	return nil
}

// open lists the streams in the order in which they are brought in: that of partition 0 is the
// last, as where a log is created.
func (m *Mover) open() (streams []blockfile.Stream, err error) {
	if m.js, err = jetstream.New(m.Conn); err != nil {
		return nil, fmt.Errorf("eventlog: %w", err)
	}
	if m.attestations, err = witness.Read(m.Witness); err != nil {
		return nil, fmt.Errorf("eventlog: %w", err)
	}
	if streams, err = blockfile.Streams(filepath.Join(m.Dir, server.JetStreamStoreDir)); err != nil {
		return nil, fmt.Errorf("eventlog: %w", err)
	}
	m.sent, m.total = 0, 0
	for _, s := range streams {
		size, err := s.Size()
		if err != nil {
			return nil, fmt.Errorf("eventlog: %w", err)
		}
		m.total += size
	}
	slices.SortFunc(streams, func(a, b blockfile.Stream) int { return partitionOf(b.Name) - partitionOf(a.Name) })
	last := slices.IndexFunc(streams, func(s blockfile.Stream) bool { return partitionOf(s.Name) == 0 })
	if last < 0 {
		return nil, fmt.Errorf("eventlog: %s holds no log", m.Dir)
	}
	first := streams[last]
	return append(slices.Delete(streams, last, last+1), first), nil
}

// Run brings in what is not there yet, until all of it is and the log is whole, or ctx ends, or
// something is wrong that no repetition mends. A stream that is there and is not what it should be
// is taken for what an interrupted run left: it is removed, and brought in again.
func (m *Mover) Run(ctx context.Context) error {
	streams, err := m.open()
	if err != nil {
		return err
	}
	if backup, err := Restored(ctx, m.Conn); err == nil && backup == m.Backup {
		return nil // by a run that was not heard of
	}
	for _, s := range streams {
		if err := m.bring(ctx, s); err != nil {
			return fmt.Errorf("eventlog: restore stream %s: %w", s.Name, err)
		}
		size, _ := s.Size()
		m.sent += size
		m.tell(0)
	}
	return m.try(ctx, m.finish)
}

func (m *Mover) tell(of int64) {
	if m.Progress != nil {
		m.Progress(m.sent+of, m.total)
	}
}

// try does a step again until it succeeds or the context ends. A step bounds what it asks a server
// for, each time, and not itself: a stream may take hours.
func (m *Mover) try(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, errSource) {
			return err
		}
		m.Logger.Warn("the log is not restored yet; trying again", "reason", err)
		select {
		case <-time.After(settleTry):
		case <-ctx.Done():
			return err
		}
	}
}

// errSource is wrapped by errors of the files that are brought in.
var errSource = errors.New("what is restored cannot be read")

// bring makes a stream what it is here, with all its replicas.
func (m *Mover) bring(ctx context.Context, s blockfile.Stream) error {
	meta, err := m.metaOf(s)
	var first uint64
	if err == nil && partitionOf(s.Name) >= 0 {
		first, err = s.First()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	var wreck error // what the last try left, and why it will not do
	return m.try(ctx, func(ctx context.Context) (err error) {
		defer func() {
			if errors.Is(err, errWreck) {
				wreck = err
			}
		}()
		if wreck == nil {
			err = m.compare(ctx, s.Name, first)
			if err == nil {
				return m.settled(ctx, s.Name)
			}
			if !errors.Is(err, errWreck) && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
			wreck = err
		}
		if !errors.Is(wreck, jetstream.ErrStreamNotFound) {
			m.Logger.Info("removing what an interrupted restore left", "stream", s.Name, "reason", wreck)
			if err := m.remove(ctx, s.Name); err != nil {
				return err
			}
		}
		wreck = nil
		if err := m.send(ctx, s, meta); err != nil {
			if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == codeRestoreTaken {
				// It is known, and perhaps nobody has it: whoever was to get it is gone.
				err = fmt.Errorf("%w: %w", errWreck, err)
			}
			return err
		}
		if err := m.compare(ctx, s.Name, first); err != nil {
			return err
		}
		return m.settled(ctx, s.Name)
	})
}

// codeRestoreTaken is JetStream's error code for a stream that is to be restored and has a name
// that is taken.
const codeRestoreTaken = 10130

// errWreck is wrapped by what a stream of this restore lacks.
var errWreck = errors.New("it is not whole")

// lookTimeout is how long a server is waited for that says what it knows, or that forms a group for
// a stream. After that, nobody answers for the stream: it has lost whoever it was given to.
const lookTimeout = 10 * time.Second

// remove removes what is there of a stream.
func (m *Mover) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := m.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return nil
}

// look asks what a server knows of a stream.
func (m *Mover) look(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	stream, err := m.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// metaOf is the configuration that a stream gets.
func (m *Mover) metaOf(s blockfile.Stream) (meta []byte, err error) {
	was, err := s.Meta()
	if err != nil {
		return nil, err
	}
	if meta, err = s.MetaText(); err == nil {
		meta, err = blockfile.WithReplicas(meta, max(m.Replicas, 1))
	}
	if err == nil {
		meta, err = blockfile.WithMetadata(meta, metaRestoring, m.Backup)
	}
	if err == nil && partitionOf(s.Name) >= 0 {
		meta, err = blockfile.WithMetadata(meta, metaCreated, was.Created.UTC().Format(time.RFC3339Nano))
	}
	if err != nil {
		return nil, err
	}
	return blockfile.ConfigText(meta)
}

// finish makes what was brought in the log.
func (m *Mover) finish(ctx context.Context) error {
	info, err := m.look(ctx, streamName(0))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err = m.js.UpdateStream(ctx, m.whole(info.Config))
	return err
}

// whole is the configuration of the stream of partition 0 from when on the log is there.
func (m *Mover) whole(c jetstream.StreamConfig) jetstream.StreamConfig {
	metadata := map[string]string{}
	maps.Copy(metadata, c.Metadata)
	delete(metadata, metaRestoring)
	metadata[metaRestored] = m.Backup
	c.Metadata = metadata
	return c
}
