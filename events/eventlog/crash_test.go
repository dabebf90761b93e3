package eventlog_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func init() {
	for fsync, name := range publishers {
		children[name] = func(dir string) error { return publishUntilKilled(dir, fsync) }
	}
}

// publishers are the processes that publish until they are killed.
var publishers = map[eventlog.Fsync]string{eventlog.FsyncAlways: "publish", eventlog.FsyncInterval: "publish, synced at intervals"}

// child runs the test binary as another process, in a directory.
func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, dir)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = t.Output()
	return cmd
}

// publishUntilKilled says on standard output which events are acknowledged, and goes on until it is
// killed. Producers number their events from the time, so that no two processes use the same.
func publishUntilKilled(dir string, fsync eventlog.Fsync) error {
	ctx := context.Background()
	l, err := eventlog.Open(ctx, eventlog.Config{Dir: dir, Partitions: 2, Fsync: fsync, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	base := int(time.Now().UnixMilli() % 1e9 * 1e5)
	var producers sync.WaitGroup
	for id := range 4 {
		producers.Go(func() {
			for n := base; ; n += 5 {
				evs := make([]events.Event, 5)
				for i := range evs {
					evs[i] = read(fmt.Sprintf("g%d", i), fmt.Sprintf("p%d-%d", id, n+i))
				}
				if _, err := l.Append(ctx, evs); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				for i := range evs {
					fmt.Println(evs[i].User) // one write each
				}
			}
		})
	}
	producers.Wait()
	return nil
}

// What was acknowledged is in the log after kill -9, once, in order, however often it is synced.
func TestKilledProcessLosesNothing(t *testing.T) {
	for fsync, name := range publishers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killPublishers(t, fsync)
		})
	}
}

func killPublishers(t *testing.T, fsync eventlog.Fsync) {
	ctx := testContext(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := make(map[string]bool)
	for range 5 {
		cmd := child(t, publishers[fsync], dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		kill := func() { cmd.Process.Kill() }
		for n := 0; lines.Scan(); n++ {
			if n == 0 {
				time.AfterFunc(time.Duration(random.IntN(250))*time.Millisecond, kill)
			}
			acked[lines.Text()] = true
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the process ended by itself: %v", err)
		}

		l := natstest.OpenLog(t, eventlog.Config{Dir: dir})
		logged := make(map[string]bool)
		last := make(map[[2]int]int)
		for partition := range l.Partitions() {
			for _, s := range readAll(t, ctx, l, partition) {
				if logged[s.user] {
					t.Fatalf("%s is twice in the log", s.user)
				}
				logged[s.user] = true
				var producer, n int
				if _, err := fmt.Sscanf(s.user, "p%d-%d", &producer, &n); err != nil {
					t.Fatal(err)
				}
				key := [2]int{producer, partition}
				if n <= last[key] {
					t.Fatalf("event %d of producer %d comes after %d", n, producer, last[key])
				}
				last[key] = n
			}
		}
		for user := range acked {
			if !logged[user] {
				t.Fatalf("%s was acknowledged and is not in the log", user)
			}
		}
		natstest.CloseLog(t, l)
	}
	if len(acked) < 100 {
		t.Errorf("only %d events were acknowledged at all", len(acked))
	}
}
