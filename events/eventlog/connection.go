package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"
)

const (
	connectTimeout = 5 * time.Second
	reconnectWait  = 20 * time.Millisecond
	reconnectMax   = 2 * time.Second
	// A connection whose other end has gone silent is given up after two unanswered pings.
	pingInterval = 5 * time.Second
	pingsOut     = 2
	// Where there are other servers to go to, one that stands still is left sooner.
	nodePingInterval = 2 * time.Second
	// A server that takes no more bytes is given up as well.
	writeTimeout = 5 * time.Second

	// maxPayloadMin is the smallest max_payload that a server for the log may have.
	maxPayloadMin = maxEntryBytes
)

// connection is a NATS connection that comes back by itself and tells when it is gone.
type connection struct {
	nc     *nats.Conn
	name   string
	logger *slog.Logger

	closed chan struct{}
	// complaints are logged at first, and then one in a second: where producers choose where
	// answers go, they choose how many of these are not permitted.
	complaints rate.Sometimes

	mu      sync.Mutex
	denied  func(error)     // told of what is not permitted; nil = nobody
	up      chan struct{}   // closed while connected
	session context.Context // ends when the connection breaks
	end     context.CancelFunc
}

// Connect opens a further connection to the server that holds the log, for streams that are not the
// log's. It comes back by itself after an interruption, and is closed by [Log.Close] at the latest.
// On an outside server its user must be allowed what those streams need.
func (l *Log) Connect(ctx context.Context, name string) (*nats.Conn, error) {
	return l.keep(l.connect(ctx, name))
}

// keep has a connection closed with the log.
func (l *Log) keep(c *connection, err error) (*nats.Conn, error) {
	if err != nil {
		return nil, err
	}
	l.submits.Lock()
	defer l.submits.Unlock()
	if l.closed {
		c.nc.Close()
		return nil, ErrClosed
	}
	l.others = append(l.others, c)
	return c.nc, nil
}

func (l *Log) connect(ctx context.Context, name string) (*connection, error) {
	return l.connectAs(ctx, name, logUser)
}

// connectAs connects as one of receiptd's own users of the embedded server. On an outside server
// there is only the user that the configuration names.
func (l *Log) connectAs(ctx context.Context, name, user string) (*connection, error) {
	c := &connection{
		name: name, logger: l.logger, closed: make(chan struct{}), up: make(chan struct{}),
		complaints: rate.Sometimes{First: outsideLines, Interval: time.Second},
	}
	c.session, c.end = context.WithCancel(context.Background())
	close(c.up)
	ping := pingInterval
	if l.cfg.Node != "" {
		ping = nodePingInterval
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		// That a server refuses the credentials for a moment, in a rotation, is no reason to stop.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(ping),
		nats.MaxPingsOutstanding(pingsOut),
		nats.FlusherTimeout(writeTimeout),
		// Publishing while disconnected is an error at once, rather than a surprise later.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectHandler(c.reconnected),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(c.failed),
	}
	var err error
	switch {
	case l.server != nil:
		c.nc, err = l.server.connect(user, opts...)
	case l.peer != nil:
		c.nc, err = l.peer.connect(opts...)
	default:
		if l.cfg.Credentials != "" {
			opts = append(opts, nats.UserCredentials(l.cfg.Credentials))
		}
		if l.cfg.Dialer != nil {
			opts = append(opts, nats.SetCustomDialer(l.cfg.Dialer))
		}
		c.nc, err = nats.Connect(l.cfg.URL, opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if err := ctx.Err(); err != nil {
		c.nc.Close()
		return nil, err
	}
	if have := c.nc.MaxPayload(); have < maxPayloadMin {
		c.nc.Close()
		return nil, fmt.Errorf("the server's max_payload is %d, must be at least %d", have, maxPayloadMin)
	}
	return c, nil
}

func reconnectDelay(attempts int) time.Duration {
	return min(reconnectWait<<min(attempts, 8), reconnectMax)
}

func (c *connection) disconnected(_ *nats.Conn, err error) {
	c.mu.Lock()
	if c.session.Err() == nil {
		c.up = make(chan struct{})
		c.end()
	}
	c.mu.Unlock()
	if err != nil {
		c.logger.Warn("connection to NATS lost", slog.String("connection", c.name), slog.Any("error", err))
	}
}

func (c *connection) reconnected(nc *nats.Conn) {
	c.mu.Lock()
	if c.session.Err() != nil {
		c.session, c.end = context.WithCancel(context.Background())
		close(c.up)
	}
	c.mu.Unlock()
	c.logger.Info("connected to NATS again", slog.String("connection", c.name), slog.String("server", nc.ConnectedUrlRedacted()))
}

func (c *connection) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	c.complaints.Do(func() {
		c.logger.Warn("NATS connection", slog.String("connection", c.name), slog.Any("error", err))
	})
	c.mu.Lock()
	denied := c.denied
	c.mu.Unlock()
	if denied != nil && errors.Is(err, nats.ErrPermissionViolation) {
		denied(err)
	}
}

// whenDenied has f told when something on the connection is not permitted; nil for nobody.
func (c *connection) whenDenied(f func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied = f
}

// lost returns a channel that is closed when the connection breaks.
func (c *connection) lost() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.Done()
}

// connected returns a channel that is closed while the connection is up, or once it is up again.
func (c *connection) connected() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// ready waits for the connection.
func (c *connection) ready(ctx context.Context) error {
	if c.nc.IsClosed() {
		return ErrClosed
	}
	select {
	case <-c.connected():
		return nil
	case <-c.closed:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: not connected to NATS: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// requestContext bounds a request by time and by the life of the connection: an answer that was
// under way when the connection broke never comes.
func (c *connection) requestContext(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	session := c.session
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	detach := context.AfterFunc(session, cancel)
	return ctx, func() { detach(); cancel() }
}
