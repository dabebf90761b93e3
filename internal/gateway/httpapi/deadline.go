package httpapi

import (
	"context"
	"math"
	"net"
	"net/http"
	"time"
)

// connection bounds the requests of a connection, one after the other, by a timer that ends the
// connection's context, from which those of its requests derive. A deadline for each request would
// take a timer and a table of children in the context above it, for each of the waits: a third of
// what the edge did for a small request. A connection whose time was up is closed.
type connection struct {
	conn  net.Conn
	timer *time.Timer
	body  body
}

type connectionKey struct{}

// ConnContext is for [http.Server.ConnContext]: each request finds its connection in its context.
// [API.Server] has it.
func (a *API) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	k := &connection{conn: conn, timer: time.AfterFunc(math.MaxInt64, func() { end(context.DeadlineExceeded) })}
	k.timer.Stop()
	a.connections.add(k)
	return context.WithValue(ctx, connectionKey{}, k)
}

// ConnOf returns the connection that a context came from by [API.ConnContext]; nil if it came from
// none.
func ConnOf(ctx context.Context) net.Conn {
	if k, ok := ctx.Value(connectionKey{}).(*connection); ok {
		return k.conn
	}
	return nil
}

// connectionOf returns what bounds the request; nil if its connection may carry several at a time,
// or was not accepted by [API.Server].
func connectionOf(r *http.Request) *connection {
	if r.ProtoMajor != 1 {
		return nil
	}
	k, _ := r.Context().Value(connectionKey{}).(*connection)
	return k
}

// bound ends the context of the call at its deadline, until unbound is called.
func (c *call) bound(rt route) {
	if rt.waits {
		c.connection = connectionOf(c.r)
	}
	if c.connection != nil {
		c.connection.timer.Reset(time.Until(c.deadline))
		return
	}
	var ctx context.Context
	ctx, c.cancel = context.WithDeadline(c.r.Context(), c.deadline)
	c.r = c.r.WithContext(ctx)
}

func (c *call) unbound() {
	if c.connection != nil {
		c.connection.timer.Stop()
		return
	}
	c.cancel()
}

// within returns a context that also ends after d. It is for the last thing that a call waits for.
func (c *call) within(d time.Duration) (ctx context.Context, done func()) {
	if c.connection == nil {
		return context.WithTimeout(c.r.Context(), d)
	}
	c.connection.timer.Reset(min(d, time.Until(c.deadline)))
	return c.r.Context(), func() {}
}

// timeUp reports whether the deadline has ended the connection's context.
func (c *call) timeUp() bool { return c.connection != nil && c.r.Context().Err() != nil }

// lazyTimeout is a context that ends some time after somebody has begun to wait for its end. Where
// there is room at once nobody waits, and no timer is started. It is for one goroutine at a time.
type lazyTimeout struct {
	context.Context
	limit time.Duration
	timed context.Context // nil before somebody waits
	end   context.CancelFunc
}

func (p *lazyTimeout) Done() <-chan struct{} {
	if p.timed == nil {
		p.timed, p.end = context.WithTimeout(p.Context, p.limit)
	}
	return p.timed.Done()
}

func (p *lazyTimeout) Err() error {
	if p.timed == nil {
		return p.Context.Err()
	}
	return p.timed.Err()
}

func (p *lazyTimeout) Value(key any) any {
	if p.timed == nil {
		return p.Context.Value(key)
	}
	return p.timed.Value(key)
}

// stop releases the timer, if one was started.
func (p *lazyTimeout) stop() {
	if p.end != nil {
		p.end()
	}
}
