package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// How far ahead of the reader the server may send, in entries and bytes. When half of it was
	// read, more is asked for.
	aheadEntries = 500
	aheadBytes   = 4 << 20
	// readBuffer is the number of entries that wait in the reader itself.
	readBuffer = 64
	// A consumer that is silent for two heartbeats is taken for gone.
	readHeartbeat = time.Second
	// The server removes a consumer that nobody has read from for so long.
	readInactive = 30 * time.Second

	deleteTimeout = time.Second
)

// consumer is a JetStream consumer of a reader, which uses it until it breaks.
type consumer struct {
	name     string
	home     int    // the partition whose stream it reads
	upto     uint64 // the last entry that the reader takes from there; 0 = there is no last one
	messages chan message
	broken   chan error    // why the consumer cannot be used any more
	done     chan struct{} // closed to stop
	flow     jetstream.ConsumeContext
}

// message is an entry as a consumer sends it.
type message struct {
	Entry
	number uint64 // among what the consumer sent, from 1
}

// consume makes a consumer that begins after the reader's last entry, having checked that the log
// still has that entry and the next.
func (r *Reader) consume(ctx context.Context) (*consumer, error) {
	if err := r.checkPosition(ctx); err != nil {
		return nil, err
	}
	// Ephemeral, in memory and without replicas: the reader itself knows its position.
	cfg := jetstream.ConsumerConfig{
		Description:       "receiptd reader",
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.last + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: readInactive,
		HeadersOnly:       r.onlyIDs,
	}
	home, upto := r.log.home(r.partition, r.last+1)
	var source jetstream.Consumer
	err := r.log.request(ctx, func(ctx context.Context) (err error) {
		source, err = r.log.streams[home].CreateConsumer(ctx, cfg)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("eventlog: make a consumer of partition %d: %w", r.partition, err)
	}
	c := &consumer{
		name:     source.CachedInfo().Name,
		home:     home,
		upto:     upto,
		messages: make(chan message, readBuffer),
		broken:   make(chan error, 1),
		done:     make(chan struct{}),
	}
	c.flow, err = source.Consume(func(m jetstream.Msg) { c.push(m) },
		jetstream.PullMaxMessagesWithBytesLimit(aheadEntries, aheadBytes),
		jetstream.PullHeartbeat(readHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { c.fail(err) }),
	)
	if err != nil {
		return nil, fmt.Errorf("eventlog: consume partition %d: %w", r.partition, err)
	}
	return c, nil
}

// checkPosition looks whether the log goes on from where the reader is.
func (r *Reader) checkPosition(ctx context.Context) error {
	first, last, err := r.log.Reach(ctx, r.partition, r.last)
	switch {
	case err != nil:
		return err
	case r.last > last:
		return &AheadError{Partition: r.partition, After: r.last, Last: last}
	case first > r.last+1:
		return &TrimmedError{Partition: r.partition, After: r.last, First: first}
	case r.lastTime.IsZero():
		return nil
	}
	// A log that lost its tail may have grown past the reader's position since.
	e, err := r.log.EntryAt(ctx, r.partition, r.last)
	switch {
	case errors.Is(err, ErrNoEntry): // trimmed, and not needed any more
		return nil
	case err != nil:
		return err
	case !e.Time.Equal(r.lastTime):
		return fmt.Errorf("%w: partition %d: entry %d is not the one that was read", ErrAhead, r.partition, r.last)
	}
	return nil
}

// ended reports whether what follows an entry is read from another stream.
func (c *consumer) ended(last uint64) bool { return c.upto != 0 && last >= c.upto }

func (c *consumer) push(received jetstream.Msg) {
	meta, err := received.Metadata()
	if err != nil {
		c.fail(err)
		return
	}
	m := message{
		Entry: Entry{
			Sequence: meta.Sequence.Stream,
			Time:     meta.Timestamp,
			Subject:  received.Subject(),
			Data:     received.Data(),
			MsgID:    producersName(received.Subject(), received.Headers().Get(jetstream.MsgIDHeader)),
		},
		number: meta.Sequence.Consumer,
	}
	select {
	case c.messages <- m:
	case <-c.done:
	}
}

func (c *consumer) fail(err error) {
	select {
	case c.broken <- err:
	default:
	}
}

func (c *consumer) stop() {
	close(c.done)
	c.flow.Stop()
	<-c.flow.Closed()
}

// deleteConsumer removes a consumer at once, rather than leave it until the server notices that
// nobody reads from it.
func (l *Log) deleteConsumer(partition int, name string) {
	if !l.read.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	_ = l.streams[partition].DeleteConsumer(ctx, name)
}
