package msync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// Config is what a [Server] is made of. All fields but Limits, Gate and OtherNodes are required.
type Config struct {
	State    State
	Log      gateway.Log
	Commands gateway.Acknowledger
	Notify   gateway.Subscriber
	Inbox    Inbox
	IDs      gateway.IDs
	Tokens   *gateway.Tokens
	// Gate is where sends wait for their turn, by app and user; nil = one of the edge's own.
	Gate *admission.Gate
	// Partitions is the number of partitions of the log.
	Partitions int
	// OtherNodes, if set, is the other processes that serve devices of the same users.
	OtherNodes OtherNodes

	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Limits     Limits
}

// Server is the WebSocket endpoint, and all sessions.
type Server struct {
	cfg       Config
	summaries *notify.Summaries
	metrics   *metrics
	clients   *clients
	seen      *seen
	// reading is what may be read of large frames in a second.
	reading *fair.Semaphore

	draining context.Context // what Drain ends
	drain    context.CancelFunc
}

// New makes a server. What clients acknowledge is only kept while its Run runs.
func New(cfg Config) *Server {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Gate == nil {
		cfg.Gate = admission.New(admission.Options{})
	}
	s := &Server{
		cfg:       cfg,
		summaries: &notify.Summaries{State: cfg.State, Partitions: cfg.Partitions},
		metrics:   newMetrics(cfg.Registerer),
		clients:   newClients(cfg.Limits, cfg.Gate.Weight),
		seen:      newSeen(cfg.Commands, cfg.Logger),
		reading:   fair.New(fair.Options{Capacity: cfg.Limits.ReadBytes, Weight: cfg.Gate.Weight}),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	return s
}

// Run stores what clients have acknowledged until the context ends.
func (s *Server) Run(ctx context.Context) { s.seen.run(ctx) }

// Drain refuses new connections and closes those that are open, once what they sent is answered. It
// may be called more than once.
func (s *Server) Drain() {
	s.clients.close()
	s.drain()
}

// Close drains, waits until all sessions are over and stores what their clients acknowledged, as
// far as ctx allows.
func (s *Server) Close(ctx context.Context) error {
	s.Drain()
	over := make(chan struct{})
	go func() {
		s.clients.connections.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.seen.flush(ctx)
}

// ServeHTTP takes over one connection and returns at once, so that what the HTTP server needs for a
// request is not kept for as long as the session lasts.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := gateway.Address(r.RemoteAddr)
	pending, cut := context.WithCancelCause(context.Background())
	slot, reason := s.clients.enter(address, func() { cut(errCrowded) })
	if reason != "" {
		cut(nil)
		s.metrics.refused.WithLabelValues(reason).Inc()
		w.Header().Set("Retry-After", "5")
		http.Error(w, "no more connections: "+reason, http.StatusServiceUnavailable)
		return
	}
	taken := &hijacker{ResponseWriter: w}
	conn, err := websocket.Accept(taken, r, &websocket.AcceptOptions{
		// A page may come from anywhere: its user is proven by PROVISION, never by a cookie.
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived: func(context.Context, []byte) bool {
			runtime.Gosched()
			return true
		},
	})
	if err != nil {
		s.metrics.refused.WithLabelValues(refusedUpgrade).Inc()
		cut(nil)
		slot.Release()
		s.clients.leave()
		return // Accept has answered
	}
	go s.serve(pending, &socket{conn, taken.conn}, func() { slot.Release(); cut(nil) })
}

// socket is a WebSocket that can be cut whatever it is about.
type socket struct {
	*websocket.Conn
	under net.Conn
}

// hijacker keeps the connection that is taken over.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return yielding{conn}, rw, err
}

// yielding is a connection that gives way each time it is read, which is for some hundred of the
// smallest frames. Else one that always has more would go on until its processor is taken from it,
// after 10 ms; it gives way after what costs more than to be read, too, see [Server.receive].
type yielding struct{ net.Conn }

// Read implements [io.Reader].
func (c yielding) Read(p []byte) (int, error) {
	runtime.Gosched()
	return c.Conn.Read(p)
}

// serve serves a connection until it ends. It calls known when it knows whose it is, or that nobody
// will; until then, pending ends when it has lost its slot.
func (s *Server) serve(pending context.Context, conn *socket, known func()) {
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec() // last, so that it shows no room before there is
	defer s.clients.leave()
	defer known()
	conn.SetReadLimit(loginBytes)
	code, reason := websocket.StatusInternalError, errInternal.Error()
	s.guard(func() { code, reason = s.converse(pending, conn, known) })
	s.metrics.closed.WithLabelValues(reason).Inc()
	s.hangUp(conn, code, reason)
}

// guard confines a panic to its session: sessions have goroutines of their own, and a panic that is
// not recovered in them ends the process.
func (s *Server) guard(f func()) {
	defer func() {
		if panicked := recover(); panicked != nil {
			s.metrics.panics.Inc()
			s.cfg.Logger.Error("sdk: session panicked", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// goodbyeTime is how long a client has to answer the close of its connection.
const goodbyeTime = time.Second

// hangUp closes a connection. The SDK ignores the code, which is for people who debug. The library
// waits for the client's own close without an end if a frame comes instead and does not end, and to
// close what it is closing already makes no difference to it.
func (s *Server) hangUp(conn *socket, code websocket.StatusCode, reason string) {
	if code == closedByPeer {
		_ = conn.CloseNow()
		return
	}
	cut := time.AfterFunc(goodbyeTime, func() { _ = conn.under.Close() })
	defer cut.Stop()
	_ = conn.Close(code, reason)
}

// closedByPeer stands for no code: there is nobody to tell.
const closedByPeer websocket.StatusCode = -1

// Why connections end: the reasons in the close frame and in the metric.
var (
	errLogout    = errors.New("logout")
	errGone      = errors.New("gone")
	errIdle      = errors.New("idle")
	errSlow      = errors.New("slow")
	errShutdown  = errors.New("shutdown")
	errExpired   = errors.New("token_expired")
	errRate      = errors.New("too_many_frames")
	errTooLarge  = errors.New("frame_too_large")
	errBadFrame  = errors.New("malformed_frame")
	errProvision = errors.New("not_provisioned")
	errRefused   = errors.New("login_refused")
	errInternal  = errors.New("internal")
	errCrowded   = errors.New(refusedTotal)   // or its slot has gone to another app
	errUnsure    = errors.New("login_unsure") // without an answer, too
)

// closing returns the code and text that end a connection for a reason.
func closing(reason error) (websocket.StatusCode, string) {
	code := websocket.StatusPolicyViolation
	switch {
	case errors.Is(reason, errGone), errors.Is(reason, errLogout), errors.Is(reason, errSlow):
		code = closedByPeer
	case errors.Is(reason, errShutdown):
		code = websocket.StatusServiceRestart
	case errors.Is(reason, errTooLarge):
		code = websocket.StatusMessageTooBig
	case errors.Is(reason, errBadFrame):
		code = websocket.StatusProtocolError
	case errors.Is(reason, errInternal):
		code = websocket.StatusInternalError
	case errors.Is(reason, errUnsure):
		return websocket.StatusTryAgainLater, errUnsure.Error()
	case errors.Is(reason, errCrowded):
		code = websocket.StatusTryAgainLater
	}
	return code, reason.Error()
}
