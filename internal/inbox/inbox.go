package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// maxMessageBytes bounds a message.
const maxMessageBytes = 256 << 10

var (
	// errClosed: the inbox was closed.
	errClosed = errors.New("inbox: closed")
	// ErrOverloaded: more of the sender, of the app or of all waits to be stored than is allowed.
	// Nothing of the message was stored.
	ErrOverloaded = errors.New("inbox: overloaded")
	// ErrTooLarge: the message is larger than maxMessageBytes, or takes more room with all its
	// recipients than one message may.
	ErrTooLarge = errors.New("inbox: message too large")
)

// Config says how inboxes are kept. All fields but Room, Registerer and Logger are required.
type Config struct {
	// MaxMessages bounds what one sender has in a user's inbox, MaxAge the age of a message,
	// MaxBytes all inboxes of an app together on the disk. Beyond a limit the oldest messages
	// leave.
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
	positions jetstream.Stream
	// before is the stream of version 1, nil if there never was one. The streams of the apps begin
	// with first.
	before  jetstream.Stream
	first   uint64
	metrics *metrics
	logger  *slog.Logger

	ledger ledger
	bodies bodies
	queued atomic.Int64 // bytes that wait to be stored, of all apps

	mu     sync.Mutex
	apps   map[string]*appInboxes // by app
	closed bool

	running sync.WaitGroup
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	closing sync.Once
}

// Open finds or makes the stream of positions; an app's stream is opened when it is needed. The
// connection remains the caller's, and has to outlive the inbox.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Inbox, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b := &Inbox{
		cfg: cfg, logger: cfg.Logger.With(slog.String("component", "inbox")),
		apps: make(map[string]*appInboxes), first: 1,
	}
	var err error
	if b.js, err = jetstream.New(nc); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	if b.positions, err = openStream(ctx, b.js, cfg.positionStream()); err != nil {
		return nil, err
	}
	if cfg.Shared {
		if _, err := openStream(ctx, b.js, cfg.deviceStream()); err != nil {
			return nil, err
		}
	}
	switch b.before, err = b.js.Stream(ctx, streamBefore); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		b.before = nil
	case err != nil:
		return nil, fmt.Errorf("inbox: stream %s: %w", streamBefore, err)
	default:
		b.first = b.before.CachedInfo().State.LastSeq + 1
	}
	// Last: what is registered cannot be so again at another try.
	b.metrics = newMetrics(cfg.Registerer)
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.ledger.init(b.writePositions)
	b.running.Go(b.keepPositions)
	return b, nil
}

// Close writes the positions, as far as ctx allows, and stops. What still waits to be stored fails
// with errClosed. Mailboxes have to be closed before. It may be called again.
func (b *Inbox) Close(ctx context.Context) error {
	var err error
	b.closing.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		b.stop()
		b.running.Wait()
		err = b.ledger.changed.Flush(ctx)
	})
	return err
}

// app returns what keeps the inboxes of an app, and begins it if need be.
func (b *Inbox) app(app string) (*appInboxes, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.apps[app]
	switch {
	case b.closed:
		return nil, errClosed
	case o == nil:
		o = newAppInboxes(b, app)
		b.apps[app] = o
		b.running.Go(o.run)
	}
	return o, nil
}
