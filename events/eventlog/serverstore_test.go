package eventlog_test

import (
	"errors"
	"sync"
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

// The same for a server that is one of a cluster, which nothing else would notice: others go on.
func TestStoreOfAPeerThatIsOffFailsTheLog(t *testing.T) {
	t.Parallel()
	logs := make([]*eventlog.Log, 3)
	var group sync.WaitGroup
	for i, cfg := range peers(t) {
		group.Go(func() { logs[i] = natstest.OpenLog(t, cfg) })
	}
	group.Wait()
	if err := logs[2].TurnStoreOff(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-logs[2].Failed():
	case <-time.After(30 * time.Second):
		t.Fatal("the log looks well")
	}
	if err := logs[2].Err(); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("it failed with %v", err)
	}
	if err := logs[0].Err(); err != nil {
		t.Errorf("the log of another one failed, too: %v", err)
	}
}
