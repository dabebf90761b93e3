package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	connectTimeout = 5 * time.Second
	reconnectWait  = 20 * time.Millisecond
	reconnectMax   = 2 * time.Second
	// A connection whose other end went silent is given up after two unanswered pings.
	pingInterval = 5 * time.Second
	pingsOut     = 2
	// A server that takes no more bytes is given up as well.
	writeTimeout = 5 * time.Second

	// maxPayloadMin is the least max_payload of a server the log can live on.
	maxPayloadMin = maxEntryBytes
)

// link is a connection that comes back by itself and tells when it is gone.
type link struct {
	nc     *nats.Conn
	name   string
	logger *slog.Logger

	closed chan struct{}

	mu      sync.Mutex
	up      chan struct{}   // closed while connected
	session context.Context // ends when the connection breaks
	end     context.CancelFunc
}

func (l *Log) connect(ctx context.Context, name string) (*link, error) {
	k := &link{name: name, logger: l.logger, closed: make(chan struct{}), up: make(chan struct{})}
	k.session, k.end = context.WithCancel(context.Background())
	close(k.up)
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		// A server that refuses the credentials for a moment, in a rotation, is no reason to stop.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.FlusherTimeout(writeTimeout),
		// What is published while disconnected is an error at once, not a surprise later.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(k.disconnected),
		nats.ReconnectHandler(k.reconnected),
		nats.ClosedHandler(func(*nats.Conn) { close(k.closed) }),
		nats.ErrorHandler(k.failed),
	}
	var err error
	if l.server != nil {
		k.nc, err = l.server.connect(opts...)
	} else {
		if l.cfg.Credentials != "" {
			opts = append(opts, nats.UserCredentials(l.cfg.Credentials))
		}
		k.nc, err = nats.Connect(l.cfg.URL, opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if err := ctx.Err(); err != nil {
		k.nc.Close()
		return nil, err
	}
	if have := k.nc.MaxPayload(); have < maxPayloadMin {
		k.nc.Close()
		return nil, fmt.Errorf("the server's max_payload is %d, must be at least %d", have, maxPayloadMin)
	}
	return k, nil
}

func reconnectDelay(attempts int) time.Duration {
	return min(reconnectWait<<min(attempts, 8), reconnectMax)
}

func (k *link) disconnected(_ *nats.Conn, err error) {
	k.mu.Lock()
	if k.session.Err() == nil {
		k.up = make(chan struct{})
		k.end()
	}
	k.mu.Unlock()
	if err != nil {
		k.logger.Warn("connection to NATS lost", slog.String("connection", k.name), slog.Any("error", err))
	}
}

func (k *link) reconnected(nc *nats.Conn) {
	k.mu.Lock()
	if k.session.Err() != nil {
		k.session, k.end = context.WithCancel(context.Background())
		close(k.up)
	}
	k.mu.Unlock()
	k.logger.Info("connected to NATS again", slog.String("connection", k.name), slog.String("server", nc.ConnectedUrlRedacted()))
}

func (k *link) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	k.logger.Warn("NATS connection", slog.String("connection", k.name), slog.Any("error", err))
}

// lost is closed when the connection breaks.
func (k *link) lost() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session.Done()
}

// connected is closed while the connection stands.
func (k *link) connected() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.up
}

// ready waits for the connection.
func (k *link) ready(ctx context.Context) error {
	if k.nc.IsClosed() {
		return ErrClosed
	}
	select {
	case <-k.connected():
		return nil
	case <-k.closed:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: not connected to NATS: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// during bounds a request by time and by the connection: an answer that was under way when it broke
// never comes.
func (k *link) during(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	k.mu.Lock()
	session := k.session
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	detach := context.AfterFunc(session, cancel)
	return ctx, func() { detach(); cancel() }
}
