package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// MaxMessageBytes bounds a message.
const MaxMessageBytes = 256 << 10

var (
	// ErrClosed: the inbox was closed.
	ErrClosed = errors.New("inbox: closed")
	// ErrOverloaded: more waits to be stored than is allowed. Nothing of the message was stored.
	ErrOverloaded = errors.New("inbox: overloaded")
	// ErrTooLarge: the message is larger than [MaxMessageBytes].
	ErrTooLarge = errors.New("inbox: message too large")
)

// Config says how inboxes are kept. All fields but Room, Registerer and Logger are required.
type Config struct {
	// MaxMessages bounds each user's inbox, MaxAge the age of a message, MaxBytes all inboxes
	// together on the disk. Beyond a limit the oldest messages leave.
	MaxMessages int
	MaxAge      time.Duration
	MaxBytes    int64
	// Replicas of the streams in an outside cluster.
	Replicas int
	// Shared says that several processes serve these inboxes.
	Shared bool
	// Room, if set, refuses n more bytes that the disk has no room for.
	Room func(n int64) error

	Registerer prometheus.Registerer
	Logger     *slog.Logger

	// lag is for tests: it makes of what was read what a replica that lags would have.
	lag func([]Item) []Item
}

// Inbox is the inboxes of all users. Its methods may be called from many goroutines.
type Inbox struct {
	cfg       Config
	js        jetstream.JetStream
	messages  jetstream.Stream
	positions jetstream.Stream
	metrics   *metrics
	logger    *slog.Logger

	writer writer
	hub    hub
	ledger ledger

	running sync.WaitGroup
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	closed  sync.Once
}

// Open finds or makes the streams and starts to follow them. The connection remains the caller's,
// and has to outlive the inbox.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Inbox, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b := &Inbox{cfg: cfg, logger: cfg.Logger.With(slog.String("component", "inbox"))}
	var err error
	if b.js, err = jetstream.New(nc); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	messages, positions := cfg.streams()
	if b.messages, err = openStream(ctx, b.js, messages); err != nil {
		return nil, err
	}
	if b.positions, err = openStream(ctx, b.js, positions); err != nil {
		return nil, err
	}
	if cfg.Shared {
		if _, err := openStream(ctx, b.js, cfg.deviceStream()); err != nil {
			return nil, err
		}
	}
	info, err := b.messages.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("inbox: stream %s: %w", messageStream, err)
	}
	// Last: what is registered cannot be so again at another try.
	b.metrics = newMetrics(cfg.Registerer)
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.writer.init()
	b.hub.init(info.State.LastSeq)
	b.ledger.init(b.writePositions)
	b.running.Go(b.write)
	b.running.Go(b.follow)
	b.running.Go(b.keepPositions)
	return b, nil
}

// Close writes the positions, as far as ctx allows, and stops. What still waits to be stored fails
// with [ErrClosed]. Mailboxes have to be closed before. It may be called again.
func (b *Inbox) Close(ctx context.Context) error {
	var err error
	b.closed.Do(func() {
		b.writer.close()
		b.stop()
		b.running.Wait()
		err = b.ledger.changed.Flush(ctx)
	})
	return err
}
