package natstest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// stepTimeout bounds opening and closing a log.
const stepTimeout = 2 * time.Minute

// OpenLog opens a log that is closed when the test ends. Without Dir and URL it is an embedded one
// in a fresh directory. Its messages go to the test's output unless cfg has a logger.
func OpenLog(t testing.TB, cfg eventlog.Config) *eventlog.Log {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" && cfg.Peers == nil {
		cfg.Dir = t.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = Logger(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	l, err := eventlog.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	t.Cleanup(func() {
		if !errors.Is(l.Err(), eventlog.ErrClosed) { // the test may have closed it in its own way
			CloseLog(t, l)
		}
	})
	return l
}

// CloseLog closes a log before the test ends.
func CloseLog(t testing.TB, l *eventlog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Errorf("natstest: close the log: %v", err)
	}
}

// Logger writes to the test's output.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
