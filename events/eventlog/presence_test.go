package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A log whose files are removed while entries are stored acknowledges no more, within a bound: the
// server would go on writing into files that have no name. The bound here is for a crowded machine.
func TestRemovedFilesAreNoticed(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"all":           os.RemoveAll,
		"moved away":    func(dir string) error { return os.Rename(dir, dir+".away") },
		"blocks":        func(dir string) error { return removeBlocks(dir, "RECEIPTS_*") },
		"blocks of one": func(dir string) error { return removeBlocks(dir, "RECEIPTS_1") },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			cfg := eventlog.Config{
				Dir: filepath.Join(root, "log"), WitnessDir: filepath.Join(root, "witness"), Partitions: 2, Logger: natstest.Logger(t),
			}
			l := natstest.OpenLog(t, cfg)
			ctx, cancel := context.WithTimeout(testContext(t), time.Minute)
			defer cancel()
			var acknowledged atomic.Int64
			done := make(chan error, 1)
			go func() {
				for i := 0; ; i++ {
					ticket, err := l.SubmitTo(ctx, 1, receipts(2, i))
					if err == nil {
						err = ticket.Wait(ctx)
					}
					if err != nil {
						done <- err
						return
					}
					acknowledged.Add(1)
				}
			}()
			for acknowledged.Load() < 20 {
				time.Sleep(time.Millisecond)
			}
			if err := l.Err(); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := remove(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			at, before := time.Now(), acknowledged.Load()
			err := <-done
			took, after := time.Since(at), acknowledged.Load()-before
			t.Logf("%d entries were acknowledged in %v after it", after, took)
			if !errors.Is(err, eventlog.ErrUnavailable) || took > 5*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if l.Err() == nil {
				t.Error("the log did not stop")
			}
		})
	}
}

func removeBlocks(dir, stream string) error {
	list, err := filepath.Glob(filepath.Join(dir, "jetstream", "RECEIPTS", "streams", stream, "msgs", "*.blk"))
	for _, path := range list {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
