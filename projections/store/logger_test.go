package store

import (
	"log/slog"
	"testing"
)

// testLogger writes to the test's output.
func testLogger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
