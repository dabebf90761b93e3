package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// serverLog passes warnings and errors of nats-server on to slog and drops everything else. It
// keeps a fatal message, after which the server would have ended the process, for the caller that
// started the server. Of what it says about connections from outside only so much passes: whoever
// connects decides how much that is, and the rest is counted.
type serverLog struct {
	logger *slog.Logger

	outside *rate.Limiter
	silent  atomic.Int64 // lines that did not pass since the last that did

	mu  sync.Mutex
	err error
}

func newServerLog(logger *slog.Logger) *serverLog {
	return &serverLog{logger: logger.With(slog.String("component", "nats-server")), outside: rate.NewLimiter(1, outsideLines)}
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, args ...any)  { l.log(slog.LevelWarn, format, args) }
func (l *serverLog) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// outsideLines about connections are logged at once, and then one in a second.
const outsideLines = 20

func (l *serverLog) log(level slog.Level, format string, args []any) {
	text := fmt.Sprintf(format, args...)
	if !aboutConnection(text) {
		l.logger.Log(context.Background(), level, text)
		return
	}
	if !l.outside.Allow() {
		l.silent.Add(1)
		return
	}
	attrs := []slog.Attr{slog.Int64("not_logged_before", l.silent.Swap(0))}
	for _, m := range meanings {
		if strings.Contains(text, " - rid:") && strings.Contains(text, m.words) {
			attrs = append(attrs, slog.String("meaning", m.meaning))
		}
	}
	l.logger.LogAttrs(context.Background(), level, text, attrs...)
}

// meanings explain lines about another node's server that do not tell the operator what to do.
// TLS that meets a server without it is taken for a wrong secret.
var meanings = []struct{ words, meaning string }{
	{" - authentication error", "the other node has another --cluster-secret, or speaks TLS and this one does not: --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca are for all nodes or none"},
	{"TLS route handshake error: tls: first record does not look like a TLS handshake", "the other node does not speak TLS and this one does: --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca are for all nodes or none"},
}

// aboutConnection reports whether a line is about a connection of a client or of another server:
// nats-server begins it with the address and an id.
func aboutConnection(text string) bool {
	_, rest, _ := strings.Cut(text, " - ")
	return strings.HasPrefix(rest, "cid:") || strings.HasPrefix(rest, "rid:")
}

func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
