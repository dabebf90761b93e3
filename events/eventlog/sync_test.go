package eventlog_test

import (
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// No test can lose the power, so the server is asked whether it syncs before it acknowledges.
func TestServerSyncsAsItIsTold(t *testing.T) {
	for fsync, want := range map[eventlog.Fsync]bool{eventlog.FsyncAlways: true, eventlog.FsyncInterval: false} {
		l := natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1, Fsync: fsync, Logger: natstest.Logger(t)})
		if got := l.SyncsAlways(); got != want {
			t.Errorf("%v: before each acknowledgement: %v", fsync, got)
		}
		natstest.CloseLog(t, l)
	}
}
