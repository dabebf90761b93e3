package eventlog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A server that turned its store off, for a full disk, fails the log although nothing is published:
// a node that others lead would look well, and hold no replica.
func TestStoreThatIsOffFailsTheLog(t *testing.T) {
	t.Parallel()
	log := natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1})
	if err := log.TurnStoreOff(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-log.Failed():
	case <-time.After(30 * time.Second):
		t.Fatal("the log looks well")
	}
	if err := log.Err(); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("it failed with %v", err)
	}
}
