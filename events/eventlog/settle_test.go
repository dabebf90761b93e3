package eventlog_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/output"
)

// A node that waits for its NATS servers says so, and not at every try.
func TestWaitingNodeIsNotNoisy(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	var said output.Buffer
	ctx, cancel := context.WithTimeout(testContext(t), 3*time.Second)
	defer cancel()
	cfg := eventlog.Config{URL: "nats://" + nobody, Node: "a", Partitions: 1, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	if log, err := eventlog.Open(ctx, cfg); err == nil {
		t.Fatal(log.Close(ctx))
	}
	// The second one is of the last try, which ctx may end while it is under way.
	if n := strings.Count(said.String(), "the log is not open yet"); n < 1 || n > 2 {
		t.Errorf("said %d times in 3 s: %s", n, &said)
	}
}
