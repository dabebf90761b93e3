package httpapi

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// response remembers what was answered. http.ResponseController finds the real writer behind it.
type response struct {
	http.ResponseWriter
	requestID string
	status    int // 0 until the header is written
	bytes     int64
	// node stamps the answer of a node of a cluster; nil for a server that is alone. stored is
	// what the request appended.
	node   *API
	stored []eventlog.Position
}

// Values of headers that are the same in every answer.
var (
	noSniff = []string{"nosniff"}
	isJSON  = []string{"application/json"}
)

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader writes the header once.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// begin is called before the header is written.
func (w *response) begin(status int) {
	w.status = status
	if w.node != nil {
		w.node.fresh.Stamp(w.Header(), w.stored)
	}
}

// Write writes the body.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// setDeadlines bounds reading the request and writing the answer; the zero time is no bound. A
// writer without deadlines, as in tests, stays without.
func (w *response) setDeadlines(t time.Time) {
	control := http.NewResponseController(w.ResponseWriter)
	_ = control.SetReadDeadline(t)
	_ = control.SetWriteDeadline(t)
}

// maxRequestID bounds the request ids that are taken over from a client.
const maxRequestID = 64

// requestID is the client's X-Request-Id if it is visible ASCII of reasonable length, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > maxRequestID {
		return newRequestID()
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f {
			return newRequestID()
		}
	}
	return id
}

func newRequestID() string { return strconv.FormatUint(rand.Uint64(), 36) }

// recovered answers a request whose handler panicked, and reports whether the connection has to be
// cut because an answer is already under way.
func (a *API) recovered(panicked any, w *response, r *http.Request) (abort bool) {
	if panicked == http.ErrAbortHandler {
		return true
	}
	a.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "request panicked",
		slog.String("panic", fmt.Sprint(panicked)), slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
		slog.String("request_id", w.requestID), slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		return true
	}
	a.fail(w, r, errInternal)
	return false
}

// logRequest leaves the query out: it may hold a token.
func (a *API) logRequest(r *http.Request, w *response, took time.Duration) {
	if !a.cfg.Logger.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	a.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request",
		slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()), slog.Int("status", w.status),
		slog.Int64("bytes", w.bytes), slog.Duration("took", took), slog.String("request_id", w.requestID))
}
