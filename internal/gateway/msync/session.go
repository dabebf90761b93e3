package msync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/inbox"
)

// session is one connection that is logged in. Two goroutines belong to it for as long as it lasts:
// the reader, and the one that pushes pages. A third completes sends while there are any.
type session struct {
	srv               *Server
	conn              *websocket.Conn
	app, user, device string

	sub    *notify.Subscription
	box    *inbox.Mailbox
	slot   *fair.Slot
	sends  *rate.Limiter // the user's
	bytes  *rate.Limiter // the user's
	frames *rate.Limiter
	pager  pager

	asks   chan ask    // from the reader to the pusher
	expiry *time.Timer // when the token ends
	idle   *time.Timer // when the client was silent for too long

	ctx context.Context // of the session; fail ends it
	end context.CancelCauseFunc

	mu      sync.Mutex
	expires time.Time

	pending  pendingSends
	ownReads ownReads
}

// ask is what a client wants of its queue.
type ask struct {
	unread bool
	key    uint64 // of a pull
}

// converse serves a connection until it ends, and returns how to close it. It calls known once it
// knows whose it is; until then, pending ends when it has lost its slot.
func (s *Server) converse(pending context.Context, conn *socket, known func()) (websocket.StatusCode, string) {
	c, err := s.provision(pending, conn.Conn)
	if err != nil {
		return closing(err)
	}
	known()
	s.metrics.sessions.Inc()
	defer s.metrics.sessions.Dec()
	defer c.release()
	var pushing sync.WaitGroup
	pushing.Go(func() {
		s.guard(func() { c.fail(c.push()) })
		c.fail(errInternal) // after a panic
		code, reason := closing(c.why())
		s.hangUp(conn, code, reason) // which ends the reader
	})
	s.guard(func() { c.fail(c.read()) })
	c.fail(errInternal) // after a panic
	pushing.Wait()
	c.pending.wait()
	return closing(c.why())
}

// release gives back what the session holds.
func (c *session) release() {
	c.stopTimers()
	c.sub.Close()
	c.box.Close()
	if c.srv.cfg.OtherNodes != nil {
		c.srv.seen.soon(c.app, c.user)
	}
	c.srv.clients.part(c)
}

func (c *session) stopTimers() {
	c.expiry.Stop()
	c.idle.Stop()
}

// fail ends the session for a reason; the first one counts.
func (c *session) fail(reason error) { c.end(reason) }

func (c *session) why() error { return context.Cause(c.ctx) }

// renew moves the end of the session to a later time.
func (c *session) renew(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if expires.After(c.expires) {
		c.expires = expires
		c.expiry.Reset(time.Until(expires))
	}
}

// frameBuffers hold one frame each while it is decoded.
var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// receive reads one frame, after others had their turn.
func (s *Server) receive(ctx context.Context, conn *websocket.Conn) (request, error) {
	runtime.Gosched()
	kind, r, err := conn.Reader(ctx)
	if err != nil {
		return request{}, received(err)
	}
	buf := frameBuffers.Get().(*bytes.Buffer)
	defer frameBuffers.Put(buf)
	buf.Reset()
	if _, err := io.Copy(buf, r); err != nil {
		return request{size: buf.Len()}, received(err)
	}
	if kind != websocket.MessageBinary {
		return request{size: buf.Len()}, errBadFrame
	}
	rq, err := decode(buf.Bytes())
	rq.size = buf.Len()
	if err != nil {
		s.cfg.Logger.Debug("sdk: malformed frame", "error", err)
		return rq, errBadFrame
	}
	s.metrics.frames.WithLabelValues(commandName(rq)).Inc()
	return rq, nil
}

// received is why nothing was received.
func received(err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return errTooLarge
	}
	return errGone
}

func commandName(rq request) string {
	switch {
	case rq.login != nil:
		return "provision"
	case rq.unread:
		return "unread"
	case rq.pull != nil:
		return "pull"
	case rq.meta != nil:
		return "send"
	case rq.command == msyncpb.Frame_LOGOUT:
		return "logout"
	case rq.command == msyncpb.Frame_SYNC:
		return "statistic"
	}
	return "other"
}

// read takes frames until the connection or the session ends.
func (c *session) read() error {
	for size := 0; ; {
		if err := c.pace(size); err != nil {
			return err
		}
		rq, err := c.srv.receive(context.Background(), c.conn)
		size = rq.size
		c.charge(size)
		if err != nil {
			return err
		}
		c.idle.Reset(c.srv.cfg.Limits.Idle)
		if !c.frames.Allow() {
			return errRate
		}
		switch {
		case rq.unread:
			err = c.ask(ask{unread: true})
		case rq.pull != nil:
			err = c.ask(ask{key: rq.pull.key})
		case rq.meta != nil:
			err = c.send(rq.meta)
		case rq.command == msyncpb.Frame_LOGOUT:
			return errLogout
		case rq.login != nil:
			return errBadFrame // a second time
		}
		if err != nil {
			return err
		}
	}
}

// ask hands something to the pusher. While the pusher waits for the socket, no more is read.
func (c *session) ask(a ask) error {
	select {
	case c.asks <- a:
		return nil
	case <-c.ctx.Done():
		return c.why()
	}
}

// write sends a frame. A client that does not take it in time is dropped; until then, others that
// want to write to it wait.
func (c *session) write(frame []byte) error {
	late := time.AfterFunc(c.srv.cfg.Limits.Write, func() {
		c.fail(errSlow)
		_ = c.conn.CloseNow() // which ends the write
	})
	defer late.Stop()
	if c.conn.Write(context.Background(), websocket.MessageBinary, frame) != nil {
		c.fail(errGone)
		return c.why()
	}
	return nil
}
