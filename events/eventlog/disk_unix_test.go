//go:build linux || darwin

package eventlog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func init() { children["write error"] = publishIntoWriteError }

// publishIntoWriteError publishes until the system refuses to write: files may not grow beyond a
// limit. It prints the acknowledged events, and fails unless everything else is as promised.
func publishIntoWriteError(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := eventlog.Open(ctx, eventlog.WithHooks(
		eventlog.Config{Dir: dir, Partitions: 1, Logger: slog.New(slog.DiscardHandler)},
		eventlog.Hooks{AckTimeout: 300 * time.Millisecond},
	))
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	const limit = 100_000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	p := &producer{groups: 3}
	for {
		if err := p.submit(ctx, l, 20); err != nil {
			return err
		}
		if err = p.tickets[len(p.tickets)-1].Wait(ctx); err != nil {
			break
		}
		for n := p.next - 20; n < p.next; n++ {
			fmt.Println(p.event(n).User)
		}
	}
	if !errors.Is(err, eventlog.ErrUnknownOutcome) || !errors.Is(err, eventlog.ErrUnavailable) {
		return fmt.Errorf("the ticket says %w", err)
	}
	if !strings.Contains(err.Error(), "write error") {
		return fmt.Errorf("the ticket does not say what happened: %w", err)
	}
	select {
	case <-l.Failed():
	default:
		return errors.New("the log has not failed")
	}
	if _, err := l.Submit(ctx, receipts(1, 0)); !errors.Is(err, eventlog.ErrUnavailable) || errors.Is(err, eventlog.ErrUnknownOutcome) {
		return fmt.Errorf("the next submit says %w", err)
	}
	// What is stored can still be read.
	_, last, err := l.Bounds(ctx, 0)
	if err != nil {
		return err
	}
	r, err := l.Read(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Last() < last {
		if _, err := r.Next(ctx); err != nil {
			return err
		}
	}
	return l.Close(ctx)
}

func TestWriteErrorFailsTheLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	cmd := child(t, "write error", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := 0
	for lines := bufio.NewScanner(out); lines.Scan(); acked++ {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if acked == 0 {
		t.Fatal("nothing was acknowledged")
	}
	l := natstest.OpenLog(t, eventlog.Config{Dir: dir})
	logged := readAll(t, ctx, l, 0)
	// The entry of unknown outcome may be there or not; whatever is there is whole.
	if len(logged) != acked && len(logged) != acked+20 {
		t.Errorf("%d events in the log, %d were acknowledged", len(logged), acked)
	}
	for n, s := range logged {
		if want := fmt.Sprintf("p0-%d", n); s.user != want {
			t.Fatalf("event %d is %s, want %s", n, s.user, want)
		}
	}
	if _, err := l.Append(ctx, receipts(1, 0)); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// Not parallel: it changes the user that the thread is for the file system.
func TestReadOnlyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	err := asOrdinaryUser(func() error {
		l, err := eventlog.Open(testContext(t), eventlog.Config{Dir: dir})
		if err == nil {
			l.Close(testContext(t))
		}
		return err
	})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}
