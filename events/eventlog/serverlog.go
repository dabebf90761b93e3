package eventlog

import (
	"fmt"
	"log/slog"
	"sync"
)

// serverLog passes warnings and errors of nats-server on to slog and drops everything else. It
// keeps a fatal message, after which the server would have ended the process, for the caller that
// started the server.
type serverLog struct {
	logger *slog.Logger

	mu  sync.Mutex
	err error
}

func newServerLog(logger *slog.Logger) *serverLog {
	return &serverLog{logger: logger.With(slog.String("component", "nats-server"))}
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, args ...any)  { l.logger.Warn(fmt.Sprintf(format, args...)) }
func (l *serverLog) Errorf(format string, args ...any) { l.logger.Error(fmt.Sprintf(format, args...)) }

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
